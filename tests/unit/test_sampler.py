"""The sampler: an hour and no more, told to those who listen, asked dearly no oftener than needed."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from appliance.catalogue.fit import Need
from appliance.gpu import Gpu
from appliance.host import Host
from appliance.status import BoxStatus, ProgramStatus
from services.panel.box.sampler import KEPT, Sampler, Senses
from services.panel.events import Bus
from services.panel.readiness import Readiness

pytestmark = pytest.mark.unit

GIB = 1 << 30
HOST = Host(12.5, 4, 16 * GIB, 10 * GIB, 100 * GIB, 40 * GIB)
CARD = Gpu(
    "present", name="card", load_percent=40, temperature_c=60, memory_total=24 * GIB,
    memory_used=9 * GIB, memory_free=15 * GIB,
)  # fmt: skip
NO_CARD = Gpu("absent", "No GPU.")


class World:
    """What the sampler sees."""

    def __init__(self, gpu: Gpu = NO_CARD) -> None:
        self.gpu = gpu
        self.now = 1000.0
        self.states = {"llm": "ready", "stt": "ready"}
        self.memory_asked = 0
        self.status_asked = 0
        self.bus = Bus()
        senses = Senses(
            lambda: self.gpu, lambda: HOST, self._memory,
            lambda: {"llm": Need("vram", 4 * GIB, kv=GIB)}, lambda: self.now,
        )  # fmt: skip
        self.sampler = Sampler(senses, Readiness(self._status), self.bus, lambda: 3)

    def _memory(self) -> Mapping[str, int]:
        self.memory_asked += 1
        return {"llm": GIB}

    async def _status(self) -> BoxStatus:
        self.status_asked += 1
        programs = tuple(
            ProgramStatus(name, state, state == "ready", "", 1, 0, 0)
            for name, state in self.states.items()
        )
        return BoxStatus(all(one.ready for one in programs), programs)


async def test_an_hour_is_kept_and_no_more() -> None:
    world = World()
    for number in range(KEPT + 5):
        world.now = 1000.0 + 2 * number
        await world.sampler.step()
    columns = world.sampler.columns()
    assert {len(column) for column in columns.values()} == {KEPT}
    assert columns["at"][0] == 1010.0
    assert columns["at"][-1] == 1000.0 + 2 * (KEPT + 4)
    assert columns["cpu_percent"][-1] == 12.5
    assert columns["memory_used"][-1] == 6 * GIB
    assert columns["gpu_percent"][-1] is None
    assert columns["calls"][-1] == 3
    # Nobody listens and there is no GPU: the programs are left alone.
    assert world.status_asked == 0


async def test_who_listens_is_told() -> None:
    world = World(CARD)
    with world.bus.subscribe("box") as listener:
        await world.sampler.step()
        event = await anext(listener)
    assert event.data["ready"] is True
    assert event.data["sample"]["gpu_memory_used"] == 9 * GIB
    assert event.data["sample"]["cpu_percent"] == 12.5


async def test_programs_are_weighed_now_and_then_alone() -> None:
    world = World()
    for _ in range(5):
        assert dict(await world.sampler.used_by()) == {"llm": GIB}
    assert world.memory_asked == 1


async def test_without_a_gpu_the_parts_are_the_machines() -> None:
    parts = await World().sampler.components()
    assert [part.name for part in parts] == ["llm", "other", "free"]
    assert sum(part.bytes for part in parts) == HOST.memory_total


async def test_with_a_gpu_only_loaded_models_count() -> None:
    world = World(CARD)
    assert "llm_weights" in {part.name for part in await world.sampler.components()}
    world = World(CARD)
    world.states["llm"] = "loading"
    parts = {part.name: part.bytes for part in await world.sampler.components()}
    assert parts == {"other": 9 * GIB, "free": 15 * GIB}


async def test_a_lost_gpu_leaves_a_gap_and_comes_back() -> None:
    world = World(CARD)
    await world.sampler.step()
    world.gpu = Gpu("lost", "The GPU was taken away.", "Restart.")
    await world.sampler.step()
    assert (await world.sampler.look())[0].state == "lost"
    world.gpu = CARD
    await world.sampler.step()
    assert world.sampler.columns()["gpu_memory_used"] == [9 * GIB, None, 9 * GIB]
