# A thin door over Meson. Every target installs the Debian packages it misses (scripts/deps.sh).
#   make          release build: build/smtpmux        make test     all tests and quick linters
#   make demo     see it work, nothing to configure   make lint     all linters
#   make run      serve with ./config.yaml            make fmt      lay the sources out anew
#   make install  PREFIX=/usr/local DESTDIR=          make clean    remove all build folders
#   make bench    compare with its peers: 20 minutes  make fuzz     SECONDS_EACH=60 per target
#   make bench-quick  the essentials, in 3 minutes
#   make transparency   10,000 sessions by chance with and without the proxy: SESSIONS, SEED, FIRST
#   make soak     100,000 messages past providers that fail: MESSAGES, SEED, KIND=release|asan|tsan
PREFIX ?= /usr/local
DESTDIR ?=
CONFIG ?= config.yaml
SECONDS_EACH ?= 60
KIND ?= release

.DEFAULT_GOAL := build
.PHONY: build demo run test lint fmt fuzz soak transparency bench bench-quick install clean

build:
	@scripts/deps.sh build
	@scripts/build.sh release smtpmux

demo: build
	@build/smtpmux demo

run: build
	@test -f "$(CONFIG)" || { echo "$(CONFIG) is missing: start from the example," \
	  "'cp examples/config.yaml $(CONFIG)', and put your providers in." >&2; exit 78; }
	@build/smtpmux serve -c "$(CONFIG)"

test:
	@scripts/deps.sh test
	@scripts/test.sh

lint:
	@scripts/deps.sh test
	@scripts/build.sh asan
	@scripts/lint.sh

fmt:
	@scripts/deps.sh test
	@scripts/lint.sh --fix-format

fuzz:
	@scripts/deps.sh build
	@SECONDS_EACH=$(SECONDS_EACH) scripts/fuzz.sh

soak:
	@scripts/deps.sh build
	@scripts/soak.sh $(KIND)

transparency:
	@scripts/deps.sh test
	@scripts/build.sh asan smtpmux
	@SESSIONS=$${SESSIONS:-10000} /usr/bin/python3 -m pytest -q -p no:cacheprovider \
	  tests/e2e/test_proxy_transparency.py

bench bench-quick:
	@scripts/deps.sh test
	@scripts/build.sh release
	@scripts/peers.sh bench
	@bench/run.py $(if $(filter bench-quick,$@),--quick)

install:
	@scripts/deps.sh build
	@scripts/build.sh release build.ninja
	@meson configure build --prefix "$(PREFIX)"
	@scripts/build.sh release
	@DESTDIR="$(DESTDIR)" meson install -C build --quiet --no-rebuild

clean:
	rm -rf build build-asan build-tsan build-fuzz
