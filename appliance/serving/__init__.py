"""What every model service is made of: a lifecycle, a queue with priorities, and its HTTP."""

from fastapi import APIRouter, Request

from appliance.serving.app import create_app
from appliance.serving.engine import PAUSE, Engine, Pause
from appliance.serving.priority import Priority, Rank
from appliance.serving.requests import primed, rank_of, stream, streamed
from appliance.serving.scheduler import Job, Scheduler, State
from appliance.serving.server import serve

__all__ = [
    "PAUSE",
    "APIRouter",
    "Engine",
    "Job",
    "Pause",
    "Priority",
    "Rank",
    "Request",
    "Scheduler",
    "State",
    "create_app",
    "primed",
    "rank_of",
    "serve",
    "stream",
    "streamed",
]
