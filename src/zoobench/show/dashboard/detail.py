"""Everything about one record."""

from __future__ import annotations

from zoobench.results.explore import milliseconds
from zoobench.show.charts.distributions import distribution_chart
from zoobench.show.dashboard.markup import show_blocks, show_chart, show_text
from zoobench.show.dashboard.place import Place
from zoobench.show.document import Heading
from zoobench.show.one_record import environment_blocks, headline, latency_blocks
from zoobench.show.tables import in_order


def show(place: Place) -> None:
    """Draw the page."""
    cells = in_order(place.filtered())
    if not cells:
        show_text("No cell fits these filters.")
        place.offer_clearing()
        return
    row = place.pick(cells, "record", "Record")
    show_blocks(headline(row))
    found = place.measured(row)
    if found is None:
        return
    record, slots, why = found
    show_blocks([Heading(3, "Its calls")])
    show_chart(
        distribution_chart([(row, milliseconds(slots))]),
        f"There is nothing to draw: {why or 'no call was timed'}.",
    )
    show_blocks(latency_blocks(record))
    show_blocks(environment_blocks(row, record, place.holdings.run(row.run_id)))
