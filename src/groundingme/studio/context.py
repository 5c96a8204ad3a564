"""What the handlers of the API share: `Depends(studio)`."""

from __future__ import annotations

import dataclasses

from starlette.requests import Request

from groundingme.studio.database import Database
from groundingme.studio.jobs import Jobs
from groundingme.studio.library import Library
from groundingme.studio.pictures import Pictures
from groundingme.studio.settings import Settings


@dataclasses.dataclass
class Studio:
    """The parts of a running studio.

    Attributes:
        settings: How it was started.
        library: Runs and data sets.
        pictures: Images, thumbnails and tiles, by signed keys.
        database: What people write.
        jobs: Work that outlives the request for it.
    """

    settings: Settings
    library: Library
    pictures: Pictures
    database: Database
    jobs: Jobs


async def studio(request: Request) -> Studio:
    """The studio that a request came to. Plain functions would each cost a trip to a thread."""
    found: Studio = request.app.state.studio
    return found
