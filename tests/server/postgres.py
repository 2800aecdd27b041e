"""A PostgreSQL of the tests' own: a cluster in a temporary folder, reached through a socket in it."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

SUPERUSER = "postgres"


@contextmanager
def cluster() -> Iterator[str]:
    """Its URL; skips where PostgreSQL is not installed. As root it runs as the user postgres, for it refuses root."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    found = shutil.which("initdb") or (str(programs[-1]) if programs else None)
    if found is None:
        pytest.skip("PostgreSQL is not installed (Debian: apt install postgresql)")
    with tempfile.TemporaryDirectory(prefix="harmonium-pg-") as folder:
        prefix: list[str] = []
        if os.geteuid() == 0:
            user = pwd.getpwnam(SUPERUSER)
            os.chown(folder, user.pw_uid, user.pw_gid)
            prefix = ["setpriv", f"--reuid={SUPERUSER}", f"--regid={SUPERUSER}", "--init-groups", "--"]

        def run(program: str, *arguments: str) -> None:
            path = str(Path(found).with_name(program))
            done = subprocess.run([*prefix, path, *arguments], capture_output=True, text=True, cwd=folder)
            assert done.returncode == 0, done.stdout + done.stderr

        data = f"{folder}/data"
        run("initdb", "--auth=trust", f"--username={SUPERUSER}", "--no-sync", "--encoding=UTF8", f"--pgdata={data}")
        options = f"-c listen_addresses='' -c unix_socket_directories={folder} -c fsync=off"
        run("pg_ctl", "start", "--wait", f"--pgdata={data}", f"--log={folder}/log", f"--options={options}")
        try:
            yield f"postgresql://{SUPERUSER}@/postgres?host={folder}"
        finally:
            run("pg_ctl", "stop", "--mode=immediate", f"--pgdata={data}")
