"""/v1/index…: the indexes that are served, what is in them, and changing that.

POST rows | files ──► job id ──► GET jobs/{id}: done of total;  DELETE rows?id=…;  GET thumbnail?id=…
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Sequence
from pathlib import PurePath
from typing import Annotated, Any

from fastapi import APIRouter, File, Query, Request, Response, UploadFile

from sensorium.media.signatures import HEAD, kind_of
from sensorium.retrieval.items import RESERVED
from sensorium.serving.answers import DeletedAnswer, IndexAnswer, IndexList, JobAnswer
from sensorium.serving.errors import ApiError, api_error
from sensorium.serving.intake import KINDS, source_of_bytes
from sensorium.serving.jobs import Job
from sensorium.serving.served import NewRow, ServedIndex
from sensorium.serving.service import COMPUTED, Here, Service, errors
from sensorium.serving.settings import Settings
from sensorium.serving.things import GIVEN, invalid, of_modality, words
from sensorium.serving.waiting import answered
from sensorium.serving.wire import NewThing, RowsRequest

router = APIRouter(tags=["index"])
MOST_FIELDS = 32


@router.get("/v1/index", responses=errors())
async def list_indexes(here: Here) -> IndexList:
    """All indexes, by the names that requests call them by."""
    return IndexList(data=[await _described(index) for index in here.served.indexes.values()])


@router.get("/v1/index/{name}", responses=errors())
async def one_index(name: str, here: Here) -> IndexAnswer:
    """How many rows of what an index holds, and which columns searches can filter by."""
    return await _described(here.index(name))


@router.post("/v1/index/{name}/rows", status_code=202, responses=COMPUTED)
async def add_rows(request: Request, name: str, asked: RowsRequest, here: Here) -> JobAnswer:
    """Add words and media. Answers at once; GET /v1/index/{name}/jobs/{id} says how far it is.

    What the index holds already is not added again, so that a request may be repeated.
    """
    asked.known()
    index, settings = here.index(name), here.settings
    if len(asked.rows) > settings.inputs:
        raise invalid("rows", f"got {len(asked.rows)}; at most {settings.inputs} are taken in one request")

    async def work() -> list[NewRow]:
        return [await _row(row, index, settings, f"rows[{n}]") for n, row in enumerate(asked.rows)]

    return await _begun(here, index, await answered(request, work(), settings.seconds))


@router.post("/v1/index/{name}/files", status_code=202, responses=COMPUTED)
async def add_files(
    request: Request,
    name: str,
    here: Here,
    files: Annotated[
        list[UploadFile], File(description="pictures, sounds, clips, texts; their names become captions")
    ],
) -> JobAnswer:
    """Add files, as a form sends them. Otherwise as rows."""
    index, settings = here.index(name), here.settings
    if len(files) > settings.inputs:
        raise invalid("files", f"got {len(files)}; at most {settings.inputs} are taken in one request")
    rows = [await _file(file, index, settings, f"files[{n}]") for n, file in enumerate(files)]
    return await _begun(here, index, rows)


@router.get("/v1/index/{name}/jobs/{id}", responses=errors())
async def one_job(name: str, id: str, here: Here) -> JobAnswer:
    """How far an addition is."""
    job = here.jobs.get(id)
    if job is None or job.index != here.index(name).name:
        raise ApiError(404, f"no job {id[:100]!r} of this index", param="id", code="job_not_found")
    return _told(job)


@router.delete("/v1/index/{name}/rows", responses=COMPUTED)
async def delete_rows(
    request: Request,
    name: str,
    here: Here,
    id: Annotated[list[str], Query(min_length=1, description="of a row; again for more: ?id=a&id=b")],
) -> DeletedAnswer:
    """Delete rows by their ids. Says how many there were."""
    index, settings = here.index(name), here.settings
    if len(id) > settings.inputs:
        raise invalid("id", f"got {len(id)}; at most {settings.inputs} are taken in one request")
    ids = [words(one, settings, "id") for one in id]
    deleted = await answered(request, index.delete(ids), settings.seconds)
    return DeletedAnswer(index=index.name, deleted=deleted)


@router.get(
    "/v1/index/{name}/thumbnail",
    response_class=Response,
    responses=errors()
    | {
        200: {
            "content": {"image/jpeg": {"schema": {"type": "string", "format": "binary"}}},
            "description": "JPEG",
        }
    },
)
async def thumbnail(name: str, here: Here, id: Annotated[str, Query(description="of a row")]) -> Response:
    """The small picture of a row."""
    index = here.index(name)
    try:
        data = await asyncio.to_thread(index.thumbnail, words(id, here.settings, "id"))
    except ValueError as error:
        raise api_error(error) from error
    if data is None:
        raise ApiError(404, f"no picture of {id[:100]!r} in this index", param="id", code="row_not_found")
    return Response(data, media_type="image/jpeg", headers={"Cache-Control": "private, max-age=300"})


# ---- what comes in -----------------------------------------------------------------------------------------------


async def _row(row: NewThing, index: ServedIndex, settings: Settings, where: str) -> NewRow:
    row.known(where)
    given = [name for name in GIVEN if getattr(row, name) is not None]
    if len(given) != 1:
        raise invalid(
            where, f"got {', '.join(given) or 'nothing'}; expected exactly one of {', '.join(GIVEN)}"
        )
    _embeds(index, given[0], where)
    media = await of_modality(given[0], getattr(row, given[0]), settings, f"{where}.{given[0]}")
    fields = dict(row.fields or {})
    if len(fields) > MOST_FIELDS:
        raise invalid(f"{where}.fields", f"got {len(fields)}; at most {MOST_FIELDS} are taken")
    for field, value in fields.items():
        if field in RESERVED or not re.fullmatch(r"[A-Za-z_]\w{0,63}", field, re.ASCII):
            raise invalid(
                f"{where}.fields",
                f"got the name {field[:64]!r}; expected up to 64 letters, digits and _, and none of "
                f"{', '.join(sorted(RESERVED))}",
            )
        if isinstance(value, str):
            words(value or " ", settings, f"{where}.fields.{field}")
        elif isinstance(value, int) and not -(2**63) <= value < 2**63:
            raise invalid(f"{where}.fields.{field}", "expected a number of at most 64 bits")
    caption = words(row.caption, settings, f"{where}.caption") if row.caption else ""
    return NewRow(given[0], media, words(row.id, settings, f"{where}.id") if row.id else "", caption, fields)


async def _file(file: UploadFile, index: ServedIndex, settings: Settings, where: str) -> NewRow:
    """Which modality it has the bytes say, and between sound and clip its media type. Its name is in its id, which
    says of one that is bad which it was."""
    data = await file.read(settings.media.bytes + 1)
    name = PurePath((file.filename or "").replace("\\", "/")).name[:200]
    said, kind = (file.content_type or "").partition("/")[0], kind_of(data[:HEAD])
    fitting = [
        modality for modality, kinds in KINDS.items() if kind in kinds and modality in index.modalities
    ]
    if not fitting and "text" in index.modalities and (said == "text" or name.endswith(".txt")):
        if len(data) > settings.media.text_bytes:
            raise ApiError(
                413, f"{where}: got more than {settings.media.text_bytes:,} bytes of text", param=where
            )
        try:
            return NewRow("text", words(data.decode(), settings, where))
        except UnicodeDecodeError as error:
            raise invalid(where, "got a text that is not UTF-8") from error
    if not fitting:
        raise ApiError(
            415, f"{where}: got a {kind}; this index takes {', '.join(index.modalities)}", param=where
        )
    modality = said if said in fitting else fitting[-1]
    source = source_of_bytes(modality, data, settings, where)
    content = await asyncio.to_thread(lambda: hashlib.sha256(data).hexdigest())
    caption = words(name or modality, settings, where)
    return NewRow(modality, source, f"{caption}-{content[:8]}", caption)


def _embeds(index: ServedIndex, modality: str, where: str) -> None:
    if modality not in index.modalities:
        raise invalid(where, f"got {modality}; {index.name} takes {', '.join(index.modalities)}")


# ---- what goes out -----------------------------------------------------------------------------------------------


async def _begun(here: Service, index: ServedIndex, rows: Sequence[NewRow]) -> JobAnswer:
    try:
        return _told(await here.jobs.start(index, rows))
    except Exception as error:
        raise api_error(error) from error


def _told(job: Job) -> JobAnswer:
    answer = JobAnswer(
        id=job.id, index=job.index, state=job.state, done=job.done, total=job.total, error=job.error
    )
    if job.result is not None:
        answer.added, answer.known, answer.bad = job.result.added, job.result.known, job.result.bad
        answer.reasons = dict(job.result.reasons)
    return answer


async def _described(index: ServedIndex) -> IndexAnswer:
    known: dict[str, Any] = await asyncio.to_thread(index.stats)
    names = ("rows", "modalities", "columns", "width", "approximate")
    return IndexAnswer(id=index.name, model=index.space.name, **{name: known[name] for name in names})
