"""``python -m appliance.mdns``, started by supervisord where the owner wants the name announced."""

from __future__ import annotations

from appliance.settings import seal_environment

seal_environment()

import signal

from appliance import logs
from appliance.errors import ApplianceError
from appliance.mdns import announced
from appliance.settings import load_settings


def main() -> None:
    """Announce until told to stop; ends with a sentence in the log where that cannot be."""
    settings = load_settings()
    logs.configure("mdns", settings.log_level)
    log = logs.get(__name__)
    # From here on these wait to be taken, instead of ending the program before it says goodbye.
    ends = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, ends)
    try:
        with announced(settings) as name:
            log.info("name_announced", name=name)
            signal.sigwait(ends)
    except ApplianceError as error:
        log.error("name_not_announced", reason=error.message, hint=error.hint)


if __name__ == "__main__":
    main()
