"""The registry of models, under the path that users know; the entries lie in zoobench/catalog/models.toml."""

from zoobench.catalog import MODEL_REGISTRY

__all__ = ["MODEL_REGISTRY"]

# Add your own models beneath, then run them with `python src/benchmark.py --models your_model`:
#
# MODEL_REGISTRY["your_model"] = {
#     "name": "your_model",
#     "hf_id": "org/model-name",
#     "task": "classification",
#     "img_size": 224,
#     "opset": 17,
# }
