"""A Prometheus of our own, on loopback, with the configuration in monitoring/ and nothing changed but ports and intervals."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .expressions import MONITORING

_START_SECONDS = 30.0


class PrometheusError(RuntimeError):
    """Prometheus is not here, did not start, or refused a query."""


def find(tool: str) -> str | None:
    """Return the path of `prometheus`, `promtool` or `amtool`: from PATH, or where the test set-up unpacks Debian's packages."""
    return shutil.which(tool) or shutil.which(tool, path=str(Path(sys.prefix) / "prometheus" / "usr" / "bin"))


def configuration(metrics_port: int, interval: str = "1s") -> str:
    """Return monitoring/prometheus.yml for a coordinator's node on this port, scraped as often as a short test needs."""
    text = (MONITORING / "prometheus.yml").read_text(encoding="utf-8")
    changes = {"127.0.0.1:9464": f"127.0.0.1:{metrics_port}", "15s": interval, "30s": interval, "rules/": f"{MONITORING}/rules/"}
    for old, new in changes.items():
        text = text.replace(old, new)
    return text


class Prometheus:
    """A running one. `url` is where it answers."""

    def __init__(self, url: str) -> None:
        self.url = url

    def get(self, path: str, **parameters: str) -> Any:
        """Return the `data` of an answer of the HTTP API. Raises PrometheusError."""
        query = urllib.parse.urlencode(parameters)
        try:
            with urllib.request.urlopen(f"{self.url}/api/v1/{path}?{query}", timeout=10) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise PrometheusError(f"{path} {parameters}: {error.read().decode(errors='replace')[:500]}") from error
        except OSError as error:
            raise PrometheusError(f"{path}: {error}") from error

    def query(self, expression: str) -> list[float]:
        """Return the values that an expression has now, those that are no numbers left out. Raises PrometheusError."""
        data = self.get("query", query=expression)
        values = [data["result"]] if data["resultType"] == "scalar" else [item["value"] for item in data["result"]]
        return [number for _, text in values if (number := float(text)) == number]

    def targets(self) -> dict[str, str]:
        """Return the health of every target, by `job instance`."""
        active = self.get("targets", state="active")["activeTargets"]
        return {f"{target['labels']['job']} {target['labels']['instance']}": target["health"] for target in active}


@contextmanager
def prometheus(folder: Path, metrics_port: int) -> Iterator[Prometheus]:
    """Run one in `folder`, scraping the node on `metrics_port`, until the block ends. Raises PrometheusError."""
    program = find("prometheus")
    if program is None:
        raise PrometheusError("prometheus is not installed")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "prometheus.yml").write_text(configuration(metrics_port), encoding="utf-8")
    address = f"127.0.0.1:{_free_port()}"
    command = [
        program, f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address={address}", "--log.level=warn",
    ]  # fmt: skip
    log = folder / "prometheus.log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, stdin=subprocess.DEVNULL)
    try:
        _wait_until_ready(f"http://{address}", process, log)
        yield Prometheus(f"http://{address}")
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{url}/-/ready", timeout=1):
                return
        except OSError:
            time.sleep(0.1)
    raise PrometheusError(f"prometheus did not start: {log.read_text(errors='replace')[-1000:]}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
