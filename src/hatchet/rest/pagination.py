"""Where a page stands in its list (behaviour-rest R-9)."""

from __future__ import annotations

from hatchet.rest.schemas import PaginationResponse


def pagination(total: int, offset: int, limit: int) -> PaginationResponse:
    """The page after ``offset`` of ``total`` rows. On the last page the next one is the current one (R-9.3)."""
    pages = -(-total // limit)
    current = 1 + -(-offset // limit)
    return PaginationResponse(
        current_page=current, next_page=current + 1 if current < pages else current, num_pages=pages
    )
