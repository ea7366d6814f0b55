"""The box in a container: says on stdout how it goes, holds the box, ends with a telling code."""

from __future__ import annotations

from appliance.container.keeping import Keeper
from appliance.container.losses import Losses
from appliance.container.saying import Saying
from appliance.gpu import why_unusable
from appliance.holding import Wish
from appliance.settings import Settings
from appliance.starting import Interrupted, start


def hold(settings: Settings) -> int:
    """Run the box until it is told to stop. Returns the container's exit code.

    0: it was stopped; 70: the panel, the front door, LiveKit or the GPU was lost, and a new start may help.

    Raises:
        ApplianceError: it cannot be started; says why.
    """
    saying = Saying(settings)
    losses = Losses(settings.data_dir / "gpu_losses")
    given_up = losses.verdict()
    # Before the start: a GPU that drops out while models load was lost, too.
    watches_gpu = not given_up and not why_unusable(settings)
    keeper = Keeper(settings, saying, losses, watches_gpu=watches_gpu)
    saying.opening()
    wish = Wish(is_patient=True, without_models=given_up, lost=keeper.look)
    try:
        return start(settings, detach=False, report=saying, wish=wish)
    except Interrupted:
        # Who stops a container that is starting has it stopped.
        saying.stopped()
        return 0
