#!/usr/bin/python3
"""Runs autopkgtest's own test suite against autopkgtest-virt-rocbed, the way it runs it against its own servers.

Usage: autopkgtest_suite.py SOURCE SERVER ROOT|IMAGE [unittest argument]...

SOURCE is autopkgtest's source tree (5.28 of Debian 12), SERVER the program, ROOT a configured root directory whose
apt can reach a mirror, IMAGE the directory of an image for virtual machines. The classes of tests are those of the suite:
file systems that revert and failure modes with the machine's network, containers with a network of their own, and
for an image machines that restart; ROCBED_SUITE_SYSTEMD=1 says that it has systemd.
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


class Rocbed(suite.AdtTestCase, suite.DebTestsVirtFS, suite.DebTestsFailureModes, suite.DebTestsCannotReboot):
    def __init__(self, *args, **kwargs):
        super().__init__([server, "--root", root], *args, **kwargs)

    # The suite knows what its own servers are by their names.
    has_isolation_container = False


class RocbedOwnNetwork(suite.AdtTestCase, suite.DebTestsVirtContainer):
    def __init__(self, *args, **kwargs):
        super().__init__([server, "--root", root, "--network", "none"], *args, **kwargs)

    has_isolation_container = False


class RocbedQemu(suite.AdtTestCase, suite.DebTestsFailureModes, suite.DebTestsCanReboot):
    def __init__(self, *args, **kwargs):
        super().__init__([server, "--vm", root, "--memory", "1G"], *args, **kwargs)

    # Both with systemd in the image only. The name has to have "Qemu" in it: the suite then expects another kernel.
    has_isolation_machine = os.environ.get("ROCBED_SUITE_SYSTEMD") == "1"
    has_isolation_container = has_isolation_machine


if __name__ == "__main__":
    is_image = os.path.exists(os.path.join(root, "vmlinuz"))
    names = ["RocbedQemu"] if is_image else ["Rocbed", "RocbedOwnNetwork"]
    unittest.main(argv=["autopkgtest_suite", *(rest or names)], verbosity=2)
