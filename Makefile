# `make demo` and `make test` are all a newcomer needs; both make the environment first when it is missing.

PYTHON ?= $(shell for p in python3 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' >/dev/null 2>&1 && echo $$p && break; done)
VENV ?= .venv
BIN = $(VENV)/bin
# Where pip finds torch: empty takes PyPI's build (CUDA on Linux); https://download.pytorch.org/whl/cpu is smaller.
TORCH_INDEX ?=

# What the demo reads and writes. DATA is a folder of CTs; PATIENTS a JSON object {patient: [file names]}.
DATA ?=
PATIENTS ?=
OUTPUT ?= output/demo
PHANTOMS ?= 44
# Steps of training, about 3 s each on 2 cores. A few real CTs need more steps, and augmentation.
STEPS ?= $(if $(DATA),330,120)
RUN = $(BIN)/python -m monai.bundle run
CONFIGS = bundle/configs
comma = ,
RECIPE = '$(CONFIGS)/chest.json','$(CONFIGS)/demo.json'

# glibc gives large blocks back after every step and fetching them again costs more than the arithmetic of a small
# network; these settings let it keep them.
demo: export MALLOC_MMAP_MAX_ = 0
demo: export MALLOC_TRIM_THRESHOLD_ = 100000000000
demo: export MALLOC_TOP_PAD_ = 268435456
# Threads that wait should not keep others from working.
demo test test-all: export OMP_WAIT_POLICY = PASSIVE
# MONAI repeats its security notice at every start; the configs here are the project's own.
demo: export PYTHONWARNINGS = ignore::UserWarning

.PHONY: env demo test test-all lint clean

env: $(BIN)/.complete

$(BIN)/.complete: constraints.txt pyproject.toml
	@test -n "$(PYTHON)" || { echo "This project needs Python 3.11 or 3.12: install one, or name it with PYTHON=..."; exit 1; }
	@echo "Making the environment in $(VENV) with $(PYTHON) from constraints.txt: a few minutes and about 3 GB ..."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) \
		--constraint constraints.txt --editable ".[dev]"
	@touch $@
	@echo "The environment is ready."

demo: env
	@if [ -e "$(OUTPUT)" ]; then kept="$(OUTPUT)_$$(date +%Y%m%d-%H%M%S)"; mv "$(OUTPUT)" "$$kept"; \
		echo "kept the earlier demo as $$kept"; fi
	@echo "1/4  the cohort"
ifeq ($(DATA),)
	$(BIN)/python -m cohort phantom "$(OUTPUT)/cohort" --cases $(PHANTOMS)
	$(BIN)/python -m cohort split "$(OUTPUT)/cohort" --output "$(OUTPUT)/manifest.json" --test 6 --validation 4
else
	$(BIN)/python -m cohort split "$(DATA)" --output "$(OUTPUT)/manifest.json" --test 3 --validation 1 \
		$(if $(PATIENTS),--patients "$(PATIENTS)")
endif
	@echo "2/4  training"
	$(RUN) training --config_file "['$(CONFIGS)/train.json',$(RECIPE)$(if $(DATA),$(comma)'$(CONFIGS)/augmented.json')]" \
		--manifest "$(OUTPUT)/manifest.json" --ckpt_dir "$(OUTPUT)/models" --output_dir "$(OUTPUT)" --steps $(STEPS)
	@echo "3/4  evaluation on cases the network has never seen"
	$(RUN) evaluating --config_file "['$(CONFIGS)/evaluate.json',$(RECIPE)]" \
		--manifest "$(OUTPUT)/manifest.json" --ckpt_dir "$(OUTPUT)/models" --output_dir "$(OUTPUT)"
	@echo "4/4  a CT from two radiographs alone"
	case=$$($(BIN)/python -c "import json; print(json.load(open('$(OUTPUT)/summary.json'))['held_out_cases'][0])") && \
	$(RUN) inferring --config_file "['$(CONFIGS)/inference.json',$(RECIPE)]" --case "$$case" \
		--pa "$(OUTPUT)/radiographs/$${case}_pa.png" --lateral "$(OUTPUT)/radiographs/$${case}_lateral.png" \
		--ckpt_dir "$(OUTPUT)/models" --output_dir "$(OUTPUT)/inference"
	@$(BIN)/python -m reports summary "$(OUTPUT)"

test: env
	$(BIN)/python -m pytest -m "not slow"

test-all: env
	$(BIN)/python -m pytest

lint: env
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf $(VENV)
