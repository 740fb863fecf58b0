"""The compiled extension belongs here; metadata is in setup.cfg."""

from setuptools import setup

setup()
