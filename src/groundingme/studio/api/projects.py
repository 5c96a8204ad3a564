"""Projects."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from groundingme.studio.fields import Parts

router = APIRouter(tags=["projects"])


@router.get("/projects")
def get_projects(parts: Parts) -> dict[str, Any]:
    """All projects."""
    return {"items": [], "total": 0}
