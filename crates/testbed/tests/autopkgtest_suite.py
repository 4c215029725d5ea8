#!/usr/bin/python3
"""Runs autopkgtest's own test suite against autopkgtest-virt-rocbed, the way it runs it against its own servers.

Usage: autopkgtest_suite.py SOURCE SERVER ROOT|IMAGE [unittest argument]...

SOURCE is autopkgtest's source tree: the tests of 5.28 (Debian 12); its programs in runner, lib and virt may be those of
another version. SERVER is the program, ROOT a configured root directory whose apt can reach a mirror, IMAGE the directory of
an image for virtual machines.

With a root directory the tests are those of containers and of failure modes, with each of the three networks:
ROCBED_SUITE_ALLOW has the hosts of apt for --network proxy, separated by commas, and ROCBED_SUITE_LAYER a directory with an
archive and apt's sources that is put over the root directory for --network none. With an image they are those of machines
that restart; ROCBED_SUITE_SYSTEMD=1 says that it has systemd.
"""

import importlib.machinery
import importlib.util
import os
import sys
import unittest

source, server, root, *rest = sys.argv[1:]
path = os.path.join(os.path.abspath(source), "tests", "autopkgtest")
loader = importlib.machinery.SourceFileLoader("suite", path)
suite = importlib.util.module_from_spec(importlib.util.spec_from_loader("suite", loader))
loader.exec_module(suite)


class Container(suite.AdtTestCase, suite.DebTestsVirtContainer, suite.DebTestsFailureModes, suite.DebTestsCannotReboot):
    options = []

    def __init__(self, *args, **kwargs):
        super().__init__([server, "--root", root, *self.options], *args, **kwargs)

    # The suite knows what its own servers are by their names.
    has_isolation_container = False


class Rocbed(Container):
    pass


class RocbedProxy(Container):
    hosts = os.environ.get("ROCBED_SUITE_ALLOW", "").split(",")
    options = ["--network", "proxy", *(f"--allow={host}" for host in hosts if host)]


class RocbedOwnNetwork(Container):
    layer = os.environ.get("ROCBED_SUITE_LAYER")
    options = ["--network", "none", *([f"--layer={layer}"] if layer else [])]


class RocbedQemu(suite.AdtTestCase, suite.DebTestsFailureModes, suite.DebTestsCanReboot):
    def __init__(self, *args, **kwargs):
        super().__init__([server, "--vm", root, "--memory", "1G"], *args, **kwargs)

    # Both with systemd in the image only. The name has to have "Qemu" in it: the suite then expects another kernel.
    has_isolation_machine = os.environ.get("ROCBED_SUITE_SYSTEMD") == "1"
    has_isolation_container = has_isolation_machine


if __name__ == "__main__":
    is_image = os.path.exists(os.path.join(root, "vmlinuz"))
    names = ["RocbedQemu"] if is_image else ["Rocbed", "RocbedProxy", "RocbedOwnNetwork"]
    unittest.main(argv=["autopkgtest_suite", *(rest or names)], verbosity=2)
