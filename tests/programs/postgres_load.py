# SPDX-License-Identifier: Apache-2.0
"""postgres_load.py DIR: a PostgreSQL server of its own, two clients at once that sort
and join in memory of their backends."""

import glob
import os
import shutil
import subprocess
import sys
import time

USER = "postgres"
ITEMS = 70000 if os.environ.get("RMEM_TEST_MODE") == "long" else 50000
TABLES = """
CREATE TABLE item AS SELECT i AS id, (i * 7919) %% %d AS owner,
    md5(i::text) || md5((i + 1)::text) AS text FROM generate_series(1, %d) AS i;
CREATE TABLE owner AS SELECT i AS id, md5(i::text) AS name FROM generate_series(0, %d - 1) AS i;
""" % (10000, ITEMS, 10000)
QUERIES = (
    "SELECT count(*), max(t) FROM (SELECT text AS t, id FROM item ORDER BY text) AS s;",
    "SELECT count(*), sum(i.id), max(o.name) FROM item i JOIN owner o ON o.id = i.owner;",
    "SELECT count(*), sum(n) FROM (SELECT text, count(*) AS n FROM item GROUP BY text) AS g;",
)


def binaries():
    found = sorted(glob.glob("/usr/lib/postgresql/*/bin"))
    if not found:
        sys.exit("postgres: not installed")
    return found[-1]


def as_user(*args):
    return ["setpriv", "--reuid", USER, "--regid", USER, "--clear-groups", "--"] + list(args) \
        if os.getuid() == 0 else list(args)


def psql(folder, *statements):
    return subprocess.Popen(
        as_user(os.path.join(binaries(), "psql"), "-h", folder, "-X", "-q", "-A", "-t", "-d",
                "postgres", "-v", "ON_ERROR_STOP=1",
                *[a for s in statements for a in ("-c", s)]),
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=folder, text=True)


def finished(proc):
    out, _ = proc.communicate(timeout=200)
    if proc.returncode:
        print(out)
        sys.exit(f"psql ended with {proc.returncode}")
    return out.strip()


def run(parent):
    folder = os.path.join(parent, "postgres")
    os.chmod(parent, 0o755)
    os.mkdir(folder)
    shutil.chown(folder, USER, USER)
    data = os.path.join(folder, "data")
    subprocess.run(as_user(os.path.join(binaries(), "initdb"), "-D", data, "-A", "trust", "-N",
                           "--no-locale", "-E", "UTF8"),
                   check=True, stdout=subprocess.DEVNULL, cwd=folder)
    server = subprocess.Popen(
        as_user(os.path.join(binaries(), "postgres"), "-D", data, "-k", folder, "-h", "",
                "-c", "shared_buffers=16MB", "-c", "work_mem=64MB", "-c", "fsync=off",
                "-c", "max_parallel_workers_per_gather=0", "-c", "jit=off"),
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=folder)
    try:
        for _ in range(300):
            ask = psql(folder, "SELECT 1")
            ask.communicate(timeout=60)
            if ask.returncode == 0:
                break
            time.sleep(0.1)
        print(finished(psql(folder, *[s for s in TABLES.split("\n\n") if s.strip()])))
        clients = [psql(folder, "SET enable_mergejoin = off", *QUERIES) for _ in range(2)]
        for c in clients:
            print(finished(c))
    finally:
        server.terminate()
        print("ended", server.wait(60))
        shutil.rmtree(folder, ignore_errors=True)


run(sys.argv[1])
