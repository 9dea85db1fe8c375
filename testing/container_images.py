"""The Docker engine, if one answers, and the images that containers are made of."""

import fcntl
import os
import subprocess
from pathlib import Path
from typing import NamedTuple

from docker.client import DockerClient
from docker.errors import APIError, DockerException, ImageNotFound

from tidelog.testing.identity import has_ended
from tidelog.testing.kafka_jars import KAFKA_VERSION, cache_folder, kafka_jars
from tidelog.testing.servers import ServerError

OWNER_LABEL = "tidelog-owner"
BUILD_SCRIPT = Path(__file__).with_name("images") / "build-images.sh"
BUILD_TIMEOUT_S = 600
OUTPUT_TAIL_CHARACTERS = 2_000
REMOVED_BY_ANOTHER = (404, 409)  # gone, or being removed at this moment, by another session's sweep


class Image(NamedTuple):
    """The setting that names an image; without it the official one, or the one that our script builds."""

    variable: str
    official: str
    built: str


KAFKA_IMAGE = Image("TIDELOG_KAFKA_IMAGE", f"apache/kafka:{KAFKA_VERSION}", f"local/kafka:{KAFKA_VERSION}")
REDIS_IMAGE = Image("TIDELOG_REDIS_IMAGE", "redis:7-alpine", "local/redis:7")


def docker_answers() -> bool:
    """Whether a Docker engine answers at the address that the environment gives, or the usual socket."""
    try:
        client = DockerClient.from_env(timeout=5)
    except DockerException:
        return False
    try:
        return bool(client.ping())
    except (DockerException, OSError):  # requests' errors are OSErrors
        return False
    finally:
        client.close()


def image_name(image: Image) -> str:
    """The one that its variable names; else official or built, whichever is here; else a pull; else a build.

    `ServerError` if it cannot be built either.
    """
    chosen = os.environ.get(image.variable)
    if chosen:
        return chosen
    client = DockerClient.from_env()
    try:
        for name in (image.official, image.built):
            try:
                client.images.get(name)
            except ImageNotFound:
                continue
            return name
        try:
            client.images.pull(image.official)
        except DockerException:  # no registry in reach
            _build_once(client, image)
            return image.built
        return image.official
    finally:
        client.close()


def _build_once(client: DockerClient, image: Image) -> None:
    """Builds both unless another process, which this one then waits for, has done it meanwhile."""
    cache_folder().mkdir(parents=True, exist_ok=True)
    with (cache_folder() / "images.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # let go by the kernel when its owner dies
        try:
            client.images.get(image.built)
        except ImageNotFound:
            build_images()


def build_images() -> None:
    """Builds both images out of this machine's programs (10 to 30 s)."""
    command = ["sh", str(BUILD_SCRIPT), str(kafka_jars())]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=BUILD_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        raise ServerError(f"the images were not built within {BUILD_TIMEOUT_S} s by {BUILD_SCRIPT}") from None
    if done.returncode != 0:
        tail = (done.stdout + done.stderr)[-OUTPUT_TAIL_CHARACTERS:]
        raise ServerError(
            f"no image can be pulled, and none built; name images in {KAFKA_IMAGE.variable} and {REDIS_IMAGE.variable}."
            f" The end of what the build said:\n{tail}"
        )


def remove_leftovers() -> None:
    """Removes containers whose owner was killed before it could; those of living sessions are left alone."""
    client = DockerClient.from_env()
    try:
        for container in client.containers.list(all=True, filters={"label": OWNER_LABEL}, ignore_removed=True):
            if has_ended(container.labels[OWNER_LABEL]):
                try:
                    container.remove(force=True, v=True)
                except APIError as error:
                    if error.status_code not in REMOVED_BY_ANOTHER:
                        raise
    finally:
        client.close()
