"""A task that starts runs of another task, one for each part of its input, and puts their results together."""

from pydantic import BaseModel

from hatchet_sdk import Context, Hatchet

hatchet = Hatchet()


class Book(BaseModel):
    chapters: list[str]


class Chapter(BaseModel):
    title: str


class Length(BaseModel):
    letters: int


@hatchet.task(name="measure-chapter", input_validator=Chapter)
async def measure(input: Chapter, ctx: Context) -> Length:
    return Length(letters=len(input.title))


@hatchet.task(name="measure-book", input_validator=Book)
async def measure_book(input: Book, ctx: Context) -> dict[str, int]:
    # With a key a child is found again when this task is tried a second time, whatever the order of the chapters.
    chapters = [
        measure.create_bulk_run_item(input=Chapter(title=title), key=f"chapter-{number}")
        for number, title in enumerate(input.chapters)
    ]
    lengths = await measure.aio_run_many(chapters)
    return {"chapters": len(lengths), "letters": sum(length.letters for length in lengths)}


if __name__ == "__main__":
    hatchet.worker("fan-out-worker", workflows=[measure, measure_book]).start()
