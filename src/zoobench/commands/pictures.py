"""The flags that name labelled pictures, for every command that takes them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from cyclopts import Parameter

from zoobench import api
from zoobench.errors import UsageError
from zoobench.plan import Data
from zoobench.units import margin_of


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class DataFlags:
    """Labelled pictures.

    Parameters
    ----------
    dataset
        Measure accuracy on these labelled pictures: a folder (class/name.jpg), parquet, a Hub id (owner/name@revision),
        mini-imagenet, imagenet-1k or imagenette. For detectors: a folder in COCO's layout (annotations/instances_val2017.json), such a
        .json, or parquet with a column of objects, as detection-datasets/coco.
    samples
        How many of them, the same ones every time, class-balanced, or with boxes any; default: 1000, or all where there are
        fewer.
    split
        Of the dataset; default: its test or validation split, of COCO val2017.
    dataset_config
        Of a dataset that has several; it and the columns go for --calibration too.
    image_column
        Of a parquet dataset whose columns do not tell.
    label_column
        Of a parquet dataset that has several; one of objects is for detectors.
    calibration
        Calibrate int8 on these pictures, never on those that are judged; default: on noise, and then no accuracy is
        claimed.
    calibration_samples
        How many of them; default: 200, or all where there are fewer.
    calibration_split
        Of the calibration pictures.
    max_drop
        How much of top-1, or of mAP, a precision may lose against fp32: 1%, which is one point, unless said.
    """

    dataset: str | None = None
    samples: int | None = None
    split: str | None = None
    dataset_config: str | None = None
    image_column: str | None = None
    label_column: str | None = None
    calibration: str | None = None
    calibration_samples: int | None = None
    calibration_split: str | None = None
    max_drop: str | None = None

    def data(self) -> Data:
        """What they ask for.

        Raises:
            UsageError: a flag that means nothing without another, or a number that cannot be.
        """
        for flag, value in (
            ("--samples", self.samples),
            ("--split", self.split),
            ("--max-drop", self.max_drop),
        ):
            if value is not None and self.dataset is None:
                raise UsageError(
                    f"{flag} {value} is about --dataset, which is not given; add --dataset mini-imagenet"
                )
        for flag, value in (
            ("--calibration-samples", self.calibration_samples),
            ("--calibration-split", self.calibration_split),
        ):
            if value is not None and self.calibration is None:
                raise UsageError(f"{flag} {value} is about --calibration, which is not given; add it")
        for flag, value in (
            ("--dataset-config", self.dataset_config),
            ("--image-column", self.image_column),
            ("--label-column", self.label_column),
        ):
            if value is not None and self.dataset is None and self.calibration is None:
                raise UsageError(f"{flag} {value} is about --dataset or --calibration; neither is given")
        for flag, count in (("--samples", self.samples), ("--calibration-samples", self.calibration_samples)):
            if count is not None and count < 1:
                raise UsageError(f"{flag} {count}: at least 1 picture is needed")
        return api.pictures(
            self.dataset,
            samples=self.samples,
            split=self.split,
            config=self.dataset_config,
            image_column=self.image_column,
            label_column=self.label_column,
            calibration=self.calibration,
            calibration_samples=self.calibration_samples,
            calibration_split=self.calibration_split,
            max_drop=margin_of(self.max_drop or "1%"),
        )


Pictures = Annotated[DataFlags | None, Parameter(name="*")]
