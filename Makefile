# `make demo` and `make test` are all a newcomer needs; both make the environment first when it is missing.

PYTHON ?= $(shell for p in python3 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' >/dev/null 2>&1 && echo $$p && break; done)
VENV ?= .venv
BIN = $(VENV)/bin
# A second environment, of the oldest supported releases and without python-gdcm; with Python 3.12 where it is present,
# unless PYTHON is given. The pinned ml_dtypes needs numpy 2.
MATRIX ?= .venv-matrix
MATRIX_PYTHON = $(if $(filter command environment,$(origin PYTHON)),$(PYTHON),$(shell for p in python3.12 $(PYTHON); do \
	$$p -c '' >/dev/null 2>&1 && echo $$p && break; done))
# A third environment, of MONAI Label, which stops at Python 3.11 and numpy 1.26; 3.7 GB.
LABEL_ENV ?= .venv-label
LABEL_PYTHON ?= $(shell for p in python3.11 $(PYTHON); do \
	$$p -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' >/dev/null 2>&1 && echo $$p && break; done)
# Where pip finds torch: empty takes PyPI's build (CUDA on Linux); https://download.pytorch.org/whl/cpu is smaller.
TORCH_INDEX ?=

# What the demo reads and writes. DATA is whatever `cohort prepare` takes; with PATIENTS, a JSON object {patient: [file
# names]}, a folder of CT files, which are used as they are.
DATA ?=
PATIENTS ?=
OUTPUT ?= output/demo
PHANTOMS ?= 44
# Steps of training, about 3 s each for X2CT-GAN and 1 s for RayLift on 2 cores. A few real CTs need more steps, and
# augmentation.
STEPS ?= $(if $(DATA),330,120)
RAYLIFT_STEPS ?= $(if $(DATA),800,180)
# glibc gives large blocks back after every step and fetching them again costs more than the arithmetic of a small
# network; these settings let it keep them.
KEEP_BLOCKS = MALLOC_MMAP_MAX_=0 MALLOC_TRIM_THRESHOLD_=100000000000 MALLOC_TOP_PAD_=268435456
RUN = $(KEEP_BLOCKS) $(BIN)/python -m monai.bundle run
CONFIGS = bundle/configs
comma = ,
X2CT_GAN = '$(CONFIGS)/chest.json','$(CONFIGS)/demo.json'
RAYLIFT = '$(CONFIGS)/chest.json','$(CONFIGS)/raylift.json','$(CONFIGS)/demo_raylift.json'
AUGMENTED = $(if $(DATA),$(comma)'$(CONFIGS)/augmented.json')
# $(call run,workflow,config,overlays,folder): one of the documented commands.
run = $(RUN) $(1) --config_file "['$(CONFIGS)/$(2).json',$(3)]" --manifest "$(OUTPUT)/manifest.json" \
	--ckpt_dir "$(OUTPUT)/$(4)/models" --output_dir "$(OUTPUT)/$(4)"

# Threads that wait should not keep others from working.
demo test test-all test-matrix test-label: export OMP_WAIT_POLICY = PASSIVE
# Tests run in several processes of one thread each; the tests of a file stay in one process.
JOBS ?= 2
PYTEST = python -m pytest --numprocesses $(JOBS) --dist loadfile
test test-all test-matrix test-label: export OMP_NUM_THREADS = 1
# MONAI repeats its security notice at every start; the configs here are the project's own.
ct demo: export PYTHONWARNINGS = ignore::UserWarning

# `make ct PA=film LATERAL=film`: a CT from two films, or from one, by the starter weights; from a phantom's DRRs without films.
PA ?=
LATERAL ?=
# A folder or a NIfTI file holds both views.
HOLDS_ALL = $(or $(wildcard $(PA)/.),$(findstring .nii,$(PA)))
FILMS = $(if $(PA),--pa "$(PA)") $(if $(LATERAL),--lateral "$(LATERAL)") \
	$(if $(PA),$(if $(LATERAL)$(HOLDS_ALL),,--views "['pa']"),--views "['lateral']")
CT_OUTPUT ?= output/ct

# `make label STUDIES=...`: MODEL is served from a bundle of its own, made once; to have it made again, remove it.
STUDIES ?=
MODEL ?= starter
OVERLAYS ?= $(if $(filter starter bundle/models/starter.pt,$(MODEL)),chest$(comma)raylift)
LABEL_BUNDLE ?= output/label/$(notdir $(basename $(MODEL)))
LABEL_OPTIONS ?=
.PHONY: env ct demo label test test-all test-matrix test-label lint clean

env: $(BIN)/.complete

$(BIN)/.complete: constraints.txt pyproject.toml
	@test -n "$(PYTHON)" || { echo "This project needs Python 3.11 or 3.12: install one, or name it with PYTHON=..."; exit 1; }
	@echo "Making the environment in $(VENV) with $(PYTHON) from constraints.txt: a few minutes and about 3 GB ..."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) \
		--constraint constraints.txt --editable ".[dev]"
	@touch $@
	@echo "The environment is ready."

ct: env
ifeq ($(PA)$(LATERAL),)
	@echo "no films are given (PA=..., LATERAL=...), so two DRRs of a phantom are made"
	$(BIN)/python -m cohort phantom "$(CT_OUTPUT)/phantom" --cases 1 --seed 1000
	$(BIN)/python -m drr "$(CT_OUTPUT)/phantom/phantom_1000.nii.gz" --output "$(CT_OUTPUT)/drr"
	$(MAKE) --no-print-directory ct PA="$(CT_OUTPUT)/drr/pa.dcm" LATERAL="$(CT_OUTPUT)/drr/lateral.dcm"
else
	$(RUN) inferring --config_file $(CONFIGS)/inference.json --checkpoint starter $(FILMS) --output_dir "$(CT_OUTPUT)"
	@echo "the CT and its page with a viewer are in $(CT_OUTPUT)"
endif

demo: env
	@if [ -e "$(OUTPUT)" ]; then kept="$(OUTPUT)_$$(date +%Y%m%d-%H%M%S)"; mv "$(OUTPUT)" "$$kept"; \
		echo "kept the earlier demo as $$kept"; fi
	@echo "1/5  the cohort"
ifeq ($(DATA),)
	$(BIN)/python -m cohort phantom "$(OUTPUT)/cohort" --cases $(PHANTOMS)
	$(BIN)/python -m cohort split "$(OUTPUT)/cohort" --output "$(OUTPUT)/manifest.json" --test 6 --validation 4
else
ifeq ($(PATIENTS),)
	$(BIN)/python -m cohort prepare "$(DATA)" "$(OUTPUT)/cohort" --jobs $(JOBS) || test $$? -eq 3
	$(BIN)/python -m cohort split "$(OUTPUT)/cohort" --output "$(OUTPUT)/manifest.json" --test 3 --validation 1
else
	$(BIN)/python -m cohort split "$(DATA)" --output "$(OUTPUT)/manifest.json" --test 3 --validation 1 \
		--patients "$(PATIENTS)"
endif
endif
	@echo "2/5  training of the paper's network, X2CT-GAN"
	$(call run,training,train,$(X2CT_GAN)$(AUGMENTED),x2ct_gan) --steps $(STEPS)
	@echo "3/5  training of RayLift"
	$(call run,training,train,$(RAYLIFT)$(AUGMENTED),raylift) --steps $(RAYLIFT_STEPS)
	@echo "4/5  evaluation of both on cases they have never seen, without and with the consistency update"
	$(call run,evaluating,evaluate,$(X2CT_GAN),x2ct_gan) --consistency auto
	$(call run,evaluating,evaluate,$(RAYLIFT),raylift) --consistency auto
	@echo "5/5  a CT from two radiographs alone"
	case=$$($(BIN)/python -c "import json; print(json.load(open('$(OUTPUT)/raylift/summary.json'))['held_out_cases'][0])") \
	&& $(RUN) inferring --config_file "['$(CONFIGS)/inference.json',$(RAYLIFT)]" --case "$$case" --consistency auto \
		--pa "$(OUTPUT)/raylift/radiographs/$${case}_pa.png" \
		--lateral "$(OUTPUT)/raylift/radiographs/$${case}_lateral.png" \
		--ckpt_dir "$(OUTPUT)/raylift/models" --output_dir "$(OUTPUT)/inference"
	@$(BIN)/python -m reports summary "$(OUTPUT)/x2ct_gan" "$(OUTPUT)/raylift"
	@echo "pictures of both in $(OUTPUT)/*/cases, the CT from two radiographs in $(OUTPUT)/inference"
	@echo "pages to open in a browser, with a viewer:"
	@ls $(OUTPUT)/raylift/pages/*.html $(OUTPUT)/inference/*.html
	@$(BIN)/python -m reports compare "$(OUTPUT)/raylift" "$(OUTPUT)/x2ct_gan" --output "$(OUTPUT)/comparison.html"
	@echo "begin with the report of the evaluation: $(OUTPUT)/raylift/report.html"

test: env
	$(BIN)/$(PYTEST) -m "not slow"

test-all: env
	$(BIN)/$(PYTEST)

test-matrix: $(MATRIX)/.complete
	$(MATRIX)/bin/$(PYTEST) -m "not slow"

label: $(LABEL_ENV)/.complete
	@test -n "$(STUDIES)" || { echo "give STUDIES=..., a folder of studies or the address of an archive (DICOMweb)"; exit 1; }
	@test -d "$(LABEL_BUNDLE)" || $(LABEL_ENV)/bin/python -m export archive "$(LABEL_BUNDLE)" --checkpoint "$(MODEL)" \
		$(if $(OVERLAYS),--overlays "$(OVERLAYS)")
	PYTHONPATH="$(LABEL_BUNDLE)" $(LABEL_ENV)/bin/python -P -m x2ct.label_app --studies "$(STUDIES)" $(LABEL_OPTIONS)

test-label: $(LABEL_ENV)/.complete
	$(LABEL_ENV)/bin/$(PYTEST) tests/label_app

$(LABEL_ENV)/.complete: label_app/requirements.txt
	@test -n "$(LABEL_PYTHON)" || { echo "MONAI Label needs Python 3.11: install it, or name it with LABEL_PYTHON=..."; exit 1; }
	@echo "Making the environment of MONAI Label in $(LABEL_ENV) with $(LABEL_PYTHON): 4 to 15 minutes and 3.7 GB ..."
	@$(LABEL_PYTHON) -m venv $(LABEL_ENV)
	@$(LABEL_ENV)/bin/python -m pip install --quiet $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) \
		--requirement label_app/requirements.txt
	@touch $@

$(MATRIX)/.complete: constraints.txt pyproject.toml
	@test -n "$(MATRIX_PYTHON)" || { echo "This project needs Python 3.11 or 3.12: name one with PYTHON=..."; exit 1; }
	@echo "Making the environment in $(MATRIX) with $(MATRIX_PYTHON), numpy 1.26, pydicom 2.4 and no python-gdcm ..."
	@$(MATRIX_PYTHON) -m venv $(MATRIX)
	@grep -Ev '^(numpy|pydicom|python-gdcm|dicomweb-client|ml_dtypes|pandas)==' constraints.txt >$(MATRIX)/constraints.txt
	@$(MATRIX)/bin/python -m pip install --quiet $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) \
		--constraint $(MATRIX)/constraints.txt "numpy==1.26.*" "pydicom==2.4.*" --editable ".[dev]"
	@$(MATRIX)/bin/python -m pip uninstall --quiet --yes python-gdcm
	@touch $@

lint: env
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf $(VENV) $(MATRIX) $(LABEL_ENV)
