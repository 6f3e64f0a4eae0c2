# `make deploy` brings a stack up on this machine; `make test` proves the collection; `make help` lists the rest.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
COLLECTION := $(VENV)/collections/ansible_collections/drydock/stack
SUDO := $(if $(filter 0,$(shell id -u)),,sudo)
INVENTORY ?= inventory/local
# Where the lab publishes its registry: molecule/lab/vars/main.yml.
LAB_REGISTRY := 127.0.0.1:5055
# Two files of tests at a time: a deploy waits about as long as it computes. The tests of a file may share a server.
PARALLEL := --numprocesses 2 --dist loadfile --no-loadscope-reorder
# Whether sudo asks for a password is known of this machine alone; for others ARGS says so.
ASKED := $(if $(filter inventory/local,$(INVENTORY)),$(if $(SUDO),$(shell sudo -n true 2>/dev/null || echo --ask-become-pass)))
ANSIBLE_PLAYBOOK := $(BIN)/ansible-playbook -i $(INVENTORY) $(ASKED)

# The command line's alone: an environment may have a NAME or a PORT that means something else.
given = $(if $(filter command,$(firstword $(origin $(1)))),$($(1)))

# NAME=shop SOURCE=../shop APP=shop.main:app PORT=8001 READINESS=/health; ARGS="--limit production -e @shop.yml" goes on as it is.
VARIABLES = \
	$(if $(call given,NAME),-e "fastapi_name='$(NAME)'") \
	$(if $(call given,SOURCE),-e "fastapi_source='$(SOURCE)'") \
	$(if $(call given,APP),-e "fastapi_app='$(APP)'") \
	$(if $(call given,PORT),-e "fastapi_port=$(PORT)") \
	$(if $(call given,READINESS),-e "fastapi_readiness_path='$(READINESS)'") \
	$(if $(call given,RELEASE),-e "fastapi_release='$(RELEASE)'") \
	$(if $(call given,ON),-e '{"fastapi_maintenance_enabled": $(ON)}') \
	$(if $(call given,PAGE),-e "fastapi_maintenance_page='$(PAGE)'") \
	$(if $(call given,FROM),-e "fastapi_restore_from='$(FROM)'") \
	$(if $(call given,TARGET_TIME),-e "fastapi_restore_target_time='$(TARGET_TIME)'") \
	$(if $(call given,IDENTITY),-e "fastapi_restore_identity='$(IDENTITY)'") \
	$(if $(call given,CONFIRM),-e "fastapi_restore_confirm='$(CONFIRM)'" -e "fastapi_upgrade_confirm='$(CONFIRM)'") \
	$(if $(call given,DATA),-e "fastapi_remove_data='$(DATA)'") \
	$(if $(call given,FILE),-e "fastapi_status_file='$(FILE)'") \
	$(if $(call given,SERVICE),-e "fastapi_logs_service='$(SERVICE)'") \
	$(if $(call given,LAST),-e "fastapi_logs_lines=$(LAST)") \
	$(ARGS)

.PHONY: help
help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | column -t -s "$$(printf '\t')"
	@echo 'On this machine, unless INVENTORY=../inventory names others. ARGS="--limit production" goes to ansible-playbook.'

$(BIN)/ansible-playbook: requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "$(PYTHON) is $$($(PYTHON) --version); 3.11 or later is needed: make PYTHON=python3.12 …" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null \
		|| { $(SUDO) apt-get update -qq && $(SUDO) apt-get install -qq -y --no-install-recommends python3-venv; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

$(BIN)/pytest: tests/requirements.txt files/sample_app/requirements.txt | $(BIN)/ansible-playbook
	$(BIN)/pip install --quiet --disable-pip-version-check -r tests/requirements.txt
	@command -v mmdebstrap >/dev/null \
		|| { $(SUDO) apt-get update -qq && $(SUDO) apt-get install -qq -y --no-install-recommends mmdebstrap; }
	@touch $@

# Ansible finds a collection by its path: ansible_collections/<namespace>/<name>.
$(COLLECTION):
	@mkdir -p $(@D) && ln -sfn ../../../.. $@

.PHONY: venv
venv: $(BIN)/ansible-playbook $(COLLECTION) ## Install what the controller needs into .venv

.PHONY: deploy
deploy: venv ## Bring a stack up: make deploy NAME=shop SOURCE=../shop APP=shop.main:app PORT=8001 READINESS=/health
	$(ANSIBLE_PLAYBOOK) playbooks/deploy.yml $(VARIABLES)

.PHONY: plan
plan: venv ## Show what make deploy would do, and touch nothing
	$(ANSIBLE_PLAYBOOK) playbooks/deploy.yml --check --diff $(VARIABLES)

.PHONY: rollback
rollback: venv ## Take a stack back to the release before: make rollback NAME=shop RELEASE=0123456789ab
	$(ANSIBLE_PLAYBOOK) playbooks/rollback.yml $(VARIABLES)

.PHONY: status
status: venv ## Show what runs: make status NAME=shop FILE=status.json
	$(ANSIBLE_PLAYBOOK) playbooks/status.yml $(VARIABLES)

.PHONY: maintenance
maintenance: venv ## Close or open the front door: make maintenance NAME=shop ON=true PAGE=../shop/maintenance.html
	@[[ "$(call given,ON)" =~ ^(true|false)$$ ]] || { echo "ON is '$(ON)'; use ON=true to close the front door, ON=false to open it." >&2; exit 1; }
	$(ANSIBLE_PLAYBOOK) playbooks/maintenance.yml $(VARIABLES)

.PHONY: backup
backup: venv ## Back the database up now: make backup NAME=shop
	$(ANSIBLE_PLAYBOOK) playbooks/backup.yml $(VARIABLES)

.PHONY: restore
restore: venv ## Restore the database, on a bare host the stack: make restore NAME=shop CONFIRM=shop FROM=copy SOURCE=../shop
	$(ANSIBLE_PLAYBOOK) playbooks/restore.yml $(VARIABLES)

.PHONY: upgrade-postgres
upgrade-postgres: venv ## Take the data to the major version of fastapi_postgres_image: make upgrade-postgres NAME=shop CONFIRM=shop SOURCE=../shop
	$(ANSIBLE_PLAYBOOK) playbooks/upgrade_postgres.yml $(VARIABLES)

.PHONY: rotate-password
rotate-password: venv ## Give the database another password, with no request dropped: make rotate-password NAME=shop
	$(ANSIBLE_PLAYBOOK) playbooks/rotate_password.yml $(VARIABLES)

.PHONY: drill
drill: venv ## Prove the newest backup by restoring it beside the live database: make drill NAME=shop
	$(ANSIBLE_PLAYBOOK) playbooks/drill.yml $(VARIABLES)

.PHONY: logs
logs: venv ## Show the end of a log: make logs NAME=shop SERVICE=db LAST=200
	$(ANSIBLE_PLAYBOOK) playbooks/logs.yml $(VARIABLES)

.PHONY: digests
digests: venv ## Show the images with the digests of now, for the variables of a deploy
	$(ANSIBLE_PLAYBOOK) playbooks/digests.yml $(VARIABLES)

.PHONY: remove
remove: venv ## Take a stack away, its data stays: make remove NAME=shop
	$(ANSIBLE_PLAYBOOK) playbooks/remove.yml $(VARIABLES)

.PHONY: docs
docs: $(BIN)/pytest ## Write docs/variables.md
	$(BIN)/python docs/variables.py

.PHONY: check
check: $(BIN)/pytest venv ## Lint, unit and contract tests; needs no engine
	$(BIN)/pytest $(PARALLEL) tests/lint tests/unit tests/contract files/sample_app/tests/test_without_database.py

.PHONY: faults
faults: $(BIN)/pytest venv ## The tests of faults alone, and docs/reliability.md with their figures
	$(SUDO) $(BIN)/pytest tests/faults
	$(BIN)/python docs/reliability.py

.cache/bench/packages: tests/bench/requirements.txt | $(BIN)/ansible-playbook
	$(BIN)/pip install --quiet --disable-pip-version-check --upgrade --target $@ -r tests/bench/requirements.txt
	@touch $@

.PHONY: bench
bench: $(BIN)/pytest venv .cache/bench/packages ## Measure, and write docs/performance.md: make bench FIGURES="images requests" BENCH_PAIRS=2
	@command -v wrk >/dev/null \
		|| { $(SUDO) apt-get update -qq && $(SUDO) apt-get install -qq -y --no-install-recommends wrk; }
	$(SUDO) $(if $(BENCH_PAIRS),env BENCH_PAIRS=$(BENCH_PAIRS)) $(BIN)/python tests/bench/run.py $(FIGURES)

.PHONY: test
test: SELECTED := -m "not long"
test: test-all ## Everything but what is marked long: make check, then every scenario on servers of the lab

.PHONY: test-all
test-all: $(BIN)/pytest venv ## Everything
	$(SUDO) env TEST_POSTGRES_IMAGE=$(LAB_REGISTRY)/library/postgres:17-trixie \
		$(BIN)/pytest $(PARALLEL) $(SELECTED) tests files/sample_app/tests
