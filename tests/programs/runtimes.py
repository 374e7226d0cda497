# SPDX-License-Identifier: Apache-2.0
"""Programs whose runtimes manage memory in ways of their own, over TCP."""

import os
import subprocess
import sys

from program import HERE, Program

TCP = ((50, "tcp"), (25, "tcp"))


class Numpy(Program):
    name, what, combos = "numpy", "numpy: sorts, a product, a transform", TCP

    def command(self):
        return [sys.executable if self.has_numpy() else "/usr/bin/python3",
                os.path.join(HERE, "arrays.py"), "16"]

    @staticmethod
    def has_numpy():
        return subprocess.run([sys.executable, "-c", "import numpy"], check=False,
                              stderr=subprocess.DEVNULL).returncode == 0


class Java(Program):
    name, what, combos = "java", "Java: builds and walks a heap", TCP

    def prepare(self):
        subprocess.run(["javac", "-d", self.dir, os.path.join(HERE, "Walk.java")], check=True)

    def command(self):
        return ["java", "-Xmx160m", "-Xms160m", "-cp", self.dir, "Walk", "96"]


class Node(Program):
    name, what, combos = "node", "node: builds and walks a heap", TCP

    def command(self):
        return ["node", os.path.join(HERE, "walk.js"), "64"]


class Go(Program):
    name, what, combos = "go", "a static Go program: a map, goroutines", TCP

    def prepare(self):
        env = dict(os.environ, CGO_ENABLED="0", GOCACHE=self.path("cache"), GO111MODULE="off",
                   GOPATH=self.path("go"))
        subprocess.run(["go", "build", "-o", self.path("walk"), os.path.join(HERE, "walk.go")],
                       check=True, env=env)

    def command(self):
        return [self.path("walk"), "64"]


ALL = (Numpy, Java, Node, Go)
