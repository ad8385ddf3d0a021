"""Builds the shared libraries with make, and names the wheel after the machine: any Python 3 loads them."""

import subprocess

from setuptools import setup
from setuptools.command.build_py import build_py
from setuptools.dist import Distribution


class Build(build_py):
    def run(self):
        subprocess.run(["make", "-s", "-C", "native"], check=True)
        super().run()


class Native(Distribution):
    def has_ext_modules(self):
        return True


try:
    from setuptools.command.bdist_wheel import bdist_wheel
except ImportError:  # setuptools before 70.1
    from wheel.bdist_wheel import bdist_wheel


class Wheel(bdist_wheel):
    def get_tag(self):
        return "py3", "none", super().get_tag()[2]


setup(distclass=Native, cmdclass={"build_py": Build, "bdist_wheel": Wheel})
