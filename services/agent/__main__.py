"""``python -m services.agent``: the worker."""

from appliance.settings import seal_environment

if __name__ == "__main__":
    # Guarded: each job's process imports this file again.
    seal_environment()

    import asyncio

    from appliance import logs
    from appliance.settings import load_settings
    from services.agent.worker import run

    settings = load_settings()
    logs.configure("agent", settings.log_level)
    asyncio.run(run(settings))
