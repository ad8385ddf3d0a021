"""The programs kaml is compared with, installed from Debian (boto3 from PyPI), and their use."""
import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from functools import cached_property
from pathlib import Path

from measure import Run, run
from s3_server import S3Server

from moto_server import python_with_moto  # of Tests/Servers, which s3_server puts on the path

# program -> Debian package
PACKAGES = {"restic": "restic", "borg": "borgbackup", "rclone": "rclone", "s3fs": "s3fs", "fio": "fio",
            "openssl": "openssl"}
_VERSION = {"restic": ["restic", "version"], "borg": ["borg", "--version"], "rclone": ["rclone", "version"],
            "s3fs": ["s3fs", "--version"], "fio": ["fio", "--version"], "openssl": ["openssl", "version"]}


class Peers:
    def __init__(self, home: Path):
        self.home = home
        self._running: list[subprocess.Popen] = []
        self._versions: dict[str, str] = {}

    def need(self, program: str) -> str:
        """Installs a program when it is missing; returns its name and version."""
        if program not in self._versions:
            if not shutil.which(program):
                sudo = [] if os.geteuid() == 0 else ["sudo"]
                run(*sudo, "apt-get", "install", "-q", "-y", "--no-install-recommends", PACKAGES[program])
            text = subprocess.run(_VERSION[program], capture_output=True, text=True).stdout
            found = re.search(r"\d+\.\d+(\.\d+)*", text)
            self._versions[program] = f"{program} {found.group() if found else '?'}"
            print(f"   peer: {self._versions[program]}", file=sys.stderr)
        return self._versions[program]

    # Backup programs

    def restic(self, repository: Path, *arguments: str | Path, cwd: Path | None = None) -> Run:
        self.need("restic")
        self.home.mkdir(parents=True, exist_ok=True)
        env = {"RESTIC_PASSWORD": "bench", "RESTIC_CACHE_DIR": str(self.home / "restic-cache")}
        return run("restic", "-q", "-r", repository, *arguments, cwd=cwd, env=env)

    def restic_init(self, repository: Path) -> Path:
        self.restic(repository, "init", "--repository-version", "2")
        return repository

    def borg(self, *arguments: str | Path, cwd: Path | None = None) -> Run:
        self.need("borg")
        self.home.mkdir(parents=True, exist_ok=True)
        env = {"BORG_BASE_DIR": str(self.home / "borg"), "BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK": "yes",
               "BORG_RELOCATED_REPO_ACCESS_IS_OK": "yes"}
        return run("borg", *arguments, cwd=cwd, env=env)

    @cached_property
    def sha256_rate(self) -> float:
        """Bytes a second that one core hashes, in 1 MiB blocks."""
        self.need("openssl")
        command = ["openssl", "speed", "-seconds", "1", "-bytes", str(1 << 20), "-evp", "sha256"]
        return max(float(re.findall(r"([\d.]+)k\s*$", run(*command).output)[-1]) * 1000 for _ in range(3))

    # Reading

    def fio(self, file: Path, pattern: str, block: str, amount: str) -> float:
        """Bytes a second of plain reads, no block twice within a pass. fio must not drop the page cache first."""
        self.need("fio")
        output = run("fio", "--name=read", f"--filename={file}", f"--rw={pattern}", f"--bs={block}",
                     f"--io_size={amount}", "--ioengine=psync", "--invalidate=0", "--readonly", "--randrepeat=1",
                     "--numjobs=1", "--thread", "--output-format=json").output
        return float(json.loads(output[output.index("{"):])["jobs"][0]["read"]["bw_bytes"])

    # Mounts. Each gives the process that serves it.

    @contextlib.contextmanager
    def rclone_mount(self, source: Path | str, point: Path, cache: Path, *options: str, mode: str = "full",
                     env: dict[str, str] | None = None):
        self.need("rclone")
        with self._mounted(point, "rclone", "mount", source, point, "--read-only", "--vfs-cache-mode", mode,
                           "--vfs-cache-max-age", "24h", "--dir-cache-time", "24h", "--attr-timeout", "1h",
                           "--cache-dir", cache, "--config", "/dev/null", *options, env=env) as process:
            yield process

    @contextlib.contextmanager
    def s3fs_mount(self, server: S3Server, point: Path, cache: Path | None, *options: str,
                   endpoint: str | None = None):
        """The whole bucket; `options` are given with -o. Without a cache directory s3fs keeps nothing on disk."""
        self.need("s3fs")
        secret = point.with_name("s3fs-password")
        secret.touch(mode=0o600)
        secret.write_text(f"{server.keys['AWS_ACCESS_KEY_ID']}:{server.keys['AWS_SECRET_ACCESS_KEY']}\n")
        every = [f"url={endpoint or server.endpoint}", "use_path_request_style", f"passwd_file={secret}", "ro",
                 "kernel_cache", "max_stat_cache_size=1000000", "stat_cache_expire=86400", *options,
                 *([f"use_cache={cache}"] if cache else [])]
        with self._mounted(point, "s3fs", server.bucket, point, "-f",
                           *(word for each in every for word in ("-o", each))) as process:
            yield process

    def rclone_remote(self, server: S3Server, endpoint: str | None = None) -> tuple[str, dict[str, str]]:
        """The server's bucket as a remote of rclone, and the variables that tell rclone about it."""
        settings = {"TYPE": "s3", "PROVIDER": "Ceph", "ACCESS_KEY_ID": server.keys["AWS_ACCESS_KEY_ID"],
                    "SECRET_ACCESS_KEY": server.keys["AWS_SECRET_ACCESS_KEY"],
                    "ENDPOINT": endpoint or server.endpoint}
        env = {f"RCLONE_CONFIG_BENCH_{name}": value for name, value in settings.items()}
        # rclone 1.60 refuses the whole remote when this is set.
        return f"bench:{server.bucket}", env | {"AWS_CA_BUNDLE": ""}

    def boto3_ranges(self, server: S3Server, key: str, threads: int, step: int) -> dict:
        """Reads an object with boto3 in ranges, by threads, in a process of its own; gives seconds, cpu and bytes."""
        script = Path(__file__).with_name("boto3_ranges.py")
        done = run(python_with_moto(), script, server.endpoint, server.bucket, key, str(threads), str(step),
                   env=server.keys)
        return json.loads(done.output)

    @contextlib.contextmanager
    def _mounted(self, point: Path, *command: str | Path, env: dict[str, str] | None = None):
        point.mkdir(parents=True, exist_ok=True)
        process = subprocess.Popen([str(part) for part in command], stdin=subprocess.DEVNULL,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ | (env or {}))
        self._running.append(process)
        try:
            _wait_for(lambda: os.path.ismount(point), f"the mount by {command[0]}", process)
            yield process
        finally:
            subprocess.run(["umount", "-l", point], check=False)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(20)
            self._stop(process)

    def stop_all(self) -> None:
        for process in list(self._running):
            self._stop(process)

    def _stop(self, process: subprocess.Popen) -> None:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._running.remove(process)


def _wait_for(ready, what: str, process: subprocess.Popen | None = None) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if process and process.poll() is not None:
            raise RuntimeError(f"{what} ended with status {process.returncode}")
        with contextlib.suppress(OSError):
            if ready():
                return
        time.sleep(0.05)
    raise RuntimeError(f"{what} did not come up in 30 s")
