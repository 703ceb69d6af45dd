"""Caches of their own for tests of templates."""

import subprocess
from functools import partial
from pathlib import Path

import pytest
import trio

from appliance import cache
from appliance import launch as launch_module
from appliance.config import ApplianceConfig, ApplianceFiles
from appliance.launch import prepare_template
from tests.appliance.machines import always_tcg


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache; launches are given their appliance."""
    monkeypatch.setenv("LIBGUESTFS_CACHEDIR", str(tmp_path / "cache"))
    monkeypatch.setenv("LIBGUESTFS_BACKEND_SETTINGS", "force_tcg")
    monkeypatch.setattr(launch_module, "choose_accelerator", always_tcg)
    directory = cache.cache_directory()
    cache.make_private(directory)
    return directory


@pytest.fixture
def template(appliance_files: ApplianceFiles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy, in a cache of its own, of the template that launches here use."""
    prepared = trio.run(partial(prepare_template, ApplianceConfig(drives=()), print, files=appliance_files))
    monkeypatch.setenv("LIBGUESTFS_CACHEDIR", str(tmp_path / "cache"))
    monkeypatch.setattr(launch_module, "choose_accelerator", always_tcg)
    directory = cache.cache_directory()
    cache.make_private(directory)
    subprocess.run(["cp", "-p", "--sparse=always", prepared, directory], check=True)
    return directory / prepared.name
