"""Fixtures: daemons and providers that end with their test, certificates for the whole run."""
import os

import pytest

from certificates import make_certificates
from harness import Mux, make_config
from provider import Provider

# No test needs the authorities of the machine, and reading them is most of what a start costs.
os.environ.setdefault("SSL_CERT_FILE", os.devnull)
os.environ.setdefault("SSL_CERT_DIR", os.devnull)


class Stage:
    """What a test (or a module) has running."""

    def __init__(self, make_folder):
        self.make_folder = make_folder
        self.muxes, self.providers = [], []

    def provider(self, faults=None, **options):
        self.providers.append(Provider(faults, **options))
        return self.providers[-1]

    def mux(self, *args, **options):
        """A daemon with the configuration of harness.make_config."""
        return self.serve(make_config(*args, **options))

    def serve(self, config, prefix=()):
        """`prefix`: what runs the daemon, as `ip netns exec NAME`."""
        self.muxes.append(Mux(config, self.make_folder("mux"), prefix))
        return self.muxes[-1]

    def end(self):
        problems = []
        for mux in self.muxes:
            try:
                mux.stop()
            except AssertionError as problem:
                problems.append(str(problem))
        for provider in self.providers:
            provider.close()
        assert not problems, "\n".join(problems)


@pytest.fixture
def stage(tmp_path_factory):
    made = Stage(tmp_path_factory.mktemp)
    yield made
    made.end()


@pytest.fixture(scope="module")
def module_stage(tmp_path_factory):
    made = Stage(tmp_path_factory.mktemp)
    yield made
    made.end()


@pytest.fixture(scope="session")
def certificates(tmp_path_factory):
    return make_certificates(tmp_path_factory.mktemp("certificates"))
