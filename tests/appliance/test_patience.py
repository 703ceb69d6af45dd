"""Waiting that says that it waits."""

import pytest
import trio
from trio.testing import MockClock

from appliance.patience import patience


@pytest.fixture
def clock() -> MockClock:
    return MockClock(autojump_threshold=0)


async def test_long_wait_is_said_now_and_then(clock: MockClock) -> None:
    said: list[float] = []
    start_s = trio.current_time()
    async with patience(1000, lambda: said.append(trio.current_time() - start_s), every_s=30):
        await trio.sleep(100)
    assert said == [30, 60, 90]


async def test_wait_beyond_the_limit_is_too_slow(clock: MockClock) -> None:
    with pytest.raises(trio.TooSlowError):
        async with patience(50, lambda: None):
            await trio.sleep_forever()


async def test_error_of_the_body_comes_as_it_is(clock: MockClock) -> None:
    with pytest.raises(KeyError):
        async with patience(50, lambda: None):
            raise KeyError("the body's")
