# Each target is a script of its own, so that it can be run, and read, without make.

.PHONY: help run vdkr test guest native bench trials fuzz lint deny advisories clean

help: ## what there is to make
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/make \1	\2/p' Makefile | expand -t 12

run: ## installs what is missing, builds, starts the registry, pushes two images, pulls them back
	@scripts/run

vdkr: ## builds vdkr and the guest programs of its virtual machines
	@scripts/vdkr

test: ## installs what is missing, runs every test; ARGS="part of a name" for some
	@scripts/test

guest: ## builds the guest program of vdkr's virtual machines, for both architectures
	@scripts/guest

native: ## wharf and vdkr built by BitBake from the layer's recipes, as tests that take minutes
	@scripts/native

bench: ## measures wharf beside its peers; ARGS="--help" says more
	@scripts/bench $(ARGS)

trials: ## random work against a real registry, each answer compared; ARGS="model --seconds 3600"
	@scripts/trials $(ARGS)

fuzz: ## random input for every parser, FUZZ_SECONDS long [60]; ARGS="libfuzzer stream 3600"
	@scripts/fuzz $(ARGS)

lint: ## formatting and clippy, with warnings denied
	@scripts/lint

deny: ## holds every dependency against deny.toml: licences, banned crates, where they come from
	@scripts/deny

advisories: ## asks the RustSec database, which is fetched, for known holes in the dependencies
	@scripts/deny advisories

clean: ## removes what make run made, and leaves the registry alone
	@rm -rf run
