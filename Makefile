# libqkv. `make` builds and touches neither packages nor network; `make help` lists the targets.
#
#   BUILD=DIR        where everything goes (build)
#   DEVICE=SELECTOR  check: one run on that device instead of one per known implementation
#   NO_INSTALL=1     demo, check, bench: do not run tools/bootstrap first
#   V=1              show the commands

BUILD ?= build
MODEL ?= build/model
ONNX ?= build/onnx
CC ?= cc
CFLAGS ?= -O2 -g
PKG_CONFIG ?= pkg-config
CLANG_FORMAT ?= clang-format
CLANG_TIDY ?= clang-tidy

# ---- flags, all of them ----
WARNINGS := -std=c11 -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Wstrict-prototypes -Wvla -Werror
# Beyond POSIX alone macOS has sysconf(_SC_NPROCESSORS_ONLN) and RTLD_NEXT; its OpenCL is whole, and deprecated since 10.14.
UNAME := $(shell uname -s)
DEFINES := -D_POSIX_C_SOURCE=200809L -DCL_TARGET_OPENCL_VERSION=120
DEFINES += $(if $(filter Darwin,$(UNAME)),-D_DARWIN_C_SOURCE -DCL_SILENCE_DEPRECATION)
COMMON := $(WARNINGS) $(DEFINES) -fPIC -pthread $(SANITIZE)
LIB_FLAGS := -DQKV_BUILDING -fvisibility=hidden -Iinclude -Isrc
TOOL_FLAGS := -Iinclude -Itools
TEST_FLAGS := -Iinclude -Isrc -Itools -Itests
# The commands in short, unless V=1.
SAY = @$(if $(V),set -x,printf '  %-4s %s\n' $(1) '$(patsubst $(BUILD)/%,%,$@)') &&
COMPILE = $(CC) $(COMMON) $(CPPFLAGS) $(CFLAGS)
LINK = $(CC) -pthread $(SANITIZE) $(CFLAGS) $(LDFLAGS)

VERSION := $(shell sed -n 's/.*QKV_VERSION_STRING "\(.*\)"/\1/p' include/qkv/version.h)
# Before 1.0 a minor release may change the binary interface, so it is part of the soname.
SO_VERSION := $(shell echo $(VERSION) | sed -e 's/^\(0\.[0-9]*\).*/\1/' -e t -e 's/\..*//')

ifeq ($(UNAME),Darwin)
SYSTEM_LIBS := -framework OpenCL -lm
SHARED_REAL := libqkv.$(VERSION).dylib
SHARED_SONAME := libqkv.$(SO_VERSION).dylib
SHARED_LINK := libqkv.dylib
SHARED_FLAGS := -dynamiclib -install_name @rpath/$(SHARED_SONAME)
else
SYSTEM_LIBS := -lOpenCL -lm -ldl
SHARED_REAL := libqkv.so.$(VERSION)
SHARED_SONAME := libqkv.so.$(SO_VERSION)
SHARED_LINK := libqkv.so
SHARED_FLAGS := -shared -Wl,-soname,$(SHARED_SONAME) -Wl,--version-script=tools/package/qkv.map
endif

# ---- what there is ----
LIB_SOURCES := $(sort $(wildcard src/*/*.c))
LIB_OBJECTS := $(LIB_SOURCES:%.c=$(BUILD)/%.o) $(BUILD)/kernels.o
KERNELS := $(sort $(wildcard cl/*.cl))

# A tool NAME is tools/qkv-NAME.c, tools/NAME/*.c and tools/support/*.c, with these pkg-config packages.
TOOLS := devices attend bench
PACKAGES_devices := jansson libutf8proc
PACKAGES_attend := jansson libutf8proc cairo pangocairo
PACKAGES_bench := jansson
PACKAGES_tests := check $(PACKAGES_attend)
# The same as Debian and Ubuntu call them, for the line that says why a tool was left out.
DEBIAN_devices := libjansson-dev libutf8proc-dev
DEBIAN_attend := libjansson-dev libutf8proc-dev libcairo2-dev libpango1.0-dev
DEBIAN_bench := libjansson-dev

# onnx-attention is tools/onnx-attention.c and tools/onnx/*.c; protobuf-c makes the rest of ONNX's own description.
PACKAGES_onnx := libprotobuf-c jansson
DEBIAN_onnx := libprotobuf-c-dev protobuf-c-compiler libjansson-dev
PROTOC_C ?= protoc-c
PROTO := $(BUILD)/onnx-proto/onnx.pb-c

TOOL_SOURCES := $(wildcard tools/*.c tools/*/*.c)
TOOL_MODULES := $(sort $(patsubst tools/%/,%,$(dir $(wildcard tools/*/*.c))) support)
TEST_SOURCES := $(sort $(wildcard tests/test_*.c))
TEST_SCRIPTS := $(sort $(wildcard tests/test_*.sh))
TEST_SUPPORT := $(sort $(wildcard tests/support/*.c))
TEST_PROGRAMS := $(TEST_SOURCES:%.c=$(BUILD)/%)
# tools/NAME/*.c as an archive, so that tests take from it what they test.
archive = $(BUILD)/tools/$(1).a
objects = $(patsubst %.c,$(BUILD)/%.o,$(sort $(wildcard $(1))))
# Its packages are there, or nothing: asked anew in each make, since bootstrap installs between two.
have = $(and $(wildcard tools/qkv-$(1).c),$(shell $(PKG_CONFIG) --exists $(PACKAGES_$(1)) 2>/dev/null && echo yes))
have_protobuf = $(shell $(PKG_CONFIG) --exists $(PACKAGES_onnx) 2>/dev/null && command -v $(PROTOC_C) >/dev/null && echo yes)
have_onnx = $(and $(wildcard $(ONNX)/onnx.proto),$(have_protobuf))

.PHONY: all lib tools tests
all: lib tools ## the library (static and shared) and the tools whose libraries are there

lib: $(BUILD)/libqkv.a $(BUILD)/$(SHARED_LINK)

tools: $(foreach t,$(TOOLS),$(if $(call have,$(t)),$(BUILD)/qkv-$(t),skip-$(t))) $(if $(have_onnx),$(BUILD)/onnx-attention,skip-onnx)

tests: $(TEST_PROGRAMS) standins

.PHONY: $(TOOLS:%=skip-%)
$(TOOLS:%=skip-%): skip-%:
	@$(if $(wildcard tools/qkv-$*.c),echo "qkv-$* is left out: it needs $(PACKAGES_$*)" \
	    "(Debian, Ubuntu: apt-get install pkg-config $(DEBIAN_$*))",:)

.PHONY: skip-onnx
skip-onnx:
	@$(if $(have_protobuf),echo "onnx-attention is left out: $(ONNX)/onnx.proto is not there (tools/fetch-onnx brings it)", \
	    echo "onnx-attention is left out: it needs $(PACKAGES_onnx) and $(PROTOC_C)" \
	    "(Debian, Ubuntu: apt-get install pkg-config $(DEBIAN_onnx))")

# ---- library ----
$(BUILD)/src/%.o: src/%.c
	@mkdir -p $(@D)
	$(call SAY,CC) $(COMPILE) $(LIB_FLAGS) -MMD -MP -c $< -o $@

$(BUILD)/kernels.c: $(KERNELS) $(wildcard cl/*.clh) tools/embed-kernels
	@mkdir -p $(@D)
	$(call SAY,GEN) tools/embed-kernels $(KERNELS) >$@.tmp && mv $@.tmp $@

$(BUILD)/kernels.o: $(BUILD)/kernels.c
	$(call SAY,CC) $(COMPILE) $(LIB_FLAGS) -c $< -o $@

$(BUILD)/libqkv.a: $(LIB_OBJECTS)
	$(call SAY,AR) rm -f $@ && ar rcs $@ $^

$(BUILD)/$(SHARED_REAL): $(LIB_OBJECTS)
	$(call SAY,LINK) $(LINK) $(SHARED_FLAGS) -o $@ $^ $(SYSTEM_LIBS)

$(BUILD)/$(SHARED_LINK): $(BUILD)/$(SHARED_REAL)
	$(call SAY,LN) ln -sf $(SHARED_REAL) $(BUILD)/$(SHARED_SONAME) && ln -sf $(SHARED_SONAME) $@

# ---- tools ----
$(BUILD)/tools/%.o: tools/%.c
	@mkdir -p $(@D)
	$(call SAY,CC) $(COMPILE) $(TOOL_FLAGS) $(TOOL_CFLAGS) -MMD -MP -c $< -o $@

$(BUILD)/tools/%.cl.c: tools/%.cl tools/embed-kernels
	@mkdir -p $(@D)
	$(call SAY,GEN) tools/embed-kernels --text $< >$@.tmp && mv $@.tmp $@

$(BUILD)/tools/devices/probe_loops.cl.c: cl/probe.cl # it includes that

$(BUILD)/tools/%.cl.o: $(BUILD)/tools/%.cl.c
	$(call SAY,CC) $(COMPILE) -c $< -o $@

define tool_module
$(call archive,$(1)): $(call objects,tools/$(1)/*.c) $(patsubst %,$(BUILD)/%.o,$(wildcard tools/$(1)/*.cl))
	@mkdir -p $$(@D)
	$$(call SAY,AR) rm -f $$@ && ar rcs $$@ $$^
endef
$(foreach m,$(sort $(TOOL_MODULES) $(TOOLS)),$(eval $(call tool_module,$(m))))

# Private variables do not reach prerequisites, so the packages' flags are set on the objects by name.
define tool
$(BUILD)/tools/qkv-$(1).o $(call objects,tools/$(1)/*.c): TOOL_CFLAGS = $$(shell $$(PKG_CONFIG) --cflags $$(PACKAGES_$(1)))
$(BUILD)/qkv-$(1): $(BUILD)/tools/qkv-$(1).o $(call archive,$(1)) $(call archive,support) $(BUILD)/libqkv.a
	$$(call SAY,LINK) $$(LINK) -o $$@ $$^ $$(shell $$(PKG_CONFIG) --libs $$(PACKAGES_$(1))) $$(SYSTEM_LIBS)
endef
$(foreach t,$(TOOLS),$(eval $(call tool,$(t))))

ONNX_OBJECTS := $(BUILD)/tools/onnx-attention.o $(call objects,tools/onnx/*.c)
$(ONNX_OBJECTS): TOOL_CFLAGS = -isystem $(dir $(PROTO)) $(shell $(PKG_CONFIG) --cflags $(PACKAGES_onnx))
$(ONNX_OBJECTS): | $(PROTO).h
$(PROTO).h: $(PROTO).c
$(PROTO).c: $(ONNX)/onnx.proto
	@mkdir -p $(@D)
	$(call SAY,GEN) $(PROTOC_C) --proto_path=$(<D) --c_out=$(@D) $<

# Generated code is nobody's to improve: no warnings.
$(PROTO).o: $(PROTO).c
	$(call SAY,CC) $(CC) -w -fPIC -pthread $(SANITIZE) $(CFLAGS) $(shell $(PKG_CONFIG) --cflags libprotobuf-c) -c $< -o $@

$(BUILD)/onnx-attention: $(ONNX_OBJECTS) $(PROTO).o $(call archive,support) $(BUILD)/libqkv.a
	$(call SAY,LINK) $(LINK) -o $@ $^ $(shell $(PKG_CONFIG) --libs $(PACKAGES_onnx)) $(SYSTEM_LIBS)

$(call objects,tools/support/*.c): TOOL_CFLAGS = $(shell $(PKG_CONFIG) --cflags jansson)

# ---- tests ----
$(BUILD)/tests/%.o: tests/%.c
	@mkdir -p $(@D)
	$(call SAY,CC) $(COMPILE) $(TEST_FLAGS) $(shell $(PKG_CONFIG) --cflags $(PACKAGES_tests)) -MMD -MP -c $< -o $@

TEST_ARCHIVES := $(BUILD)/tests/support.a $(call archive,attend) $(call archive,devices) $(call archive,support) $(BUILD)/libqkv.a
$(BUILD)/tests/support.a: $(call objects,tests/support/*.c)
	@mkdir -p $(@D)
	$(call SAY,AR) rm -f $@ && ar rcs $@ $^

$(TEST_PROGRAMS): %: %.o $(TEST_ARCHIVES)
	$(call SAY,LINK) $(LINK) -o $@ $^ $(shell $(PKG_CONFIG) --libs $(PACKAGES_tests)) $(SYSTEM_LIBS)

# The layer of tests/liar/liar.h; a system without OpenCL loader has no layers.
LIAR := $(if $(filter Darwin,$(UNAME)),,$(BUILD)/tests/liar.so)
$(LIAR): $(wildcard tests/liar/*.[ch]) tests/support/cl_calls.h tests/support/cl_calls.inc
	@mkdir -p $(@D)
	$(call SAY,LINK) $(COMPILE) -fvisibility=hidden -Iinclude -Itests -shared -o $@ $(filter %.c,$^)

# Nor has it drivers of its own.
STANDINS := $(filter-out $(if $(filter Darwin,$(UNAME)),%_driver.c),$(wildcard tests/standins/*.c))
.PHONY: standins
standins: $(patsubst tests/%.c,$(BUILD)/tests/%.so,$(STANDINS)) $(LIAR)

# What tests load in the place of a real library.
$(BUILD)/tests/standins/%.so: tests/standins/%.c
	@mkdir -p $(@D)
	$(call SAY,LINK) $(COMPILE) -Iinclude -shared -o $@ $< $(if $(filter Darwin,$(UNAME)),$(SYSTEM_LIBS))

.SECONDARY:
-include $(LIB_OBJECTS:.o=.d) $(TOOL_SOURCES:%.c=$(BUILD)/%.d)
-include $(TEST_SOURCES:%.c=$(BUILD)/%.d) $(TEST_SUPPORT:%.c=$(BUILD)/%.d)

# ---- running ----
# What comes after bootstrap is a make of its own: it sees the packages that were just installed.
AGAIN = +@$(MAKE) --no-print-directory $(if $(findstring jobserver,$(MAKEFLAGS)),,-j$(CORES))
CORES = $(shell getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)
EXPORTED = BUILD='$(BUILD)' CC='$(CC)' SANITIZE='$(SANITIZE)' QKV_TEST_MODEL='$(MODEL)' QKV_TEST_ONNX='$(ONNX)'

.PHONY: bootstrap model demo check check-profiles run-check check-asan check-ubsan check-tsan bench
bootstrap: ## installs the packages that are missing (Debian, Ubuntu) or says which they are
	@test -n '$(NO_INSTALL)' || tools/bootstrap

model: ## downloads the demo's model into build/model
	@tools/fetch-model '$(MODEL)'

demo: bootstrap ## builds, shows the devices, and a transformer's attention on a sentence as a picture
	$(AGAIN) all
	@BUILD='$(BUILD)' MODEL='$(MODEL)' NO_INSTALL='$(NO_INSTALL)' tools/demo

check: bootstrap ## every test on every OpenCL implementation at hand; DEVICE=SELECTOR: on that device only
	@test -n '$(NO_INSTALL)' || tools/fetch-model '$(MODEL)' || test "$$CI" != true
	@test -n '$(NO_INSTALL)' || tools/fetch-onnx '$(ONNX)' || test "$$CI" != true
	$(AGAIN) run-check

run-check: all tests
	@$(EXPORTED) DEVICE='$(DEVICE)' tools/run-checks $(TEST_PROGRAMS) $(TEST_SCRIPTS) tools/check-structure

.PHONY: check-all
check-all: bootstrap ## the tests on every implementation, solver and limits profile; ONLY=NAME: one; README=FILE: its matrix
	$(AGAIN) all tests
	@$(EXPORTED) ONLY='$(ONLY)' CONFIGURATIONS='$(CONFIGURATIONS)' README='$(README)' tools/check-all $(TEST_PROGRAMS)

check-profiles: bootstrap ## the tests with the device's limits lowered, one profile after the other
	$(AGAIN) all tests
	@$(EXPORTED) PROFILES='group-1 group-64 local-8k allocation-16m small apple-cpu' tools/run-checks $(TEST_PROGRAMS)

# Sanitized builds go beside the plain one. The structure and the README need no second look.
check-asan: ## the tests on one implementation under AddressSanitizer, leaks included
	$(AGAIN) BUILD=$(BUILD)/asan SANITIZE='-fsanitize=address -fno-omit-frame-pointer' run-check-sanitized

check-ubsan: ## the same under UndefinedBehaviorSanitizer
	$(AGAIN) BUILD=$(BUILD)/ubsan SANITIZE='-fsanitize=undefined -fno-sanitize-recover=all' run-check-sanitized

check-tsan: ## the same under ThreadSanitizer
	$(AGAIN) BUILD=$(BUILD)/tsan SANITIZE='-fsanitize=thread' run-check-sanitized

.PHONY: run-check-sanitized
run-check-sanitized: tools tests
	@$(EXPORTED) DEVICE='$(DEVICE)' tools/run-checks $(TEST_PROGRAMS)

ONNX_COUNT ?= 300
.PHONY: onnx-cases
onnx-cases: $(BUILD)/onnx-attention ## random cases of ONNX's Attention, outputs by ONNX's reference, through onnx-attention
	@test -x $(BUILD)/onnx-venv/bin/python || { python3 -m venv $(BUILD)/onnx-venv && \
	    $(BUILD)/onnx-venv/bin/pip install --quiet --disable-pip-version-check onnx==1.23.2; }
	@$(BUILD)/onnx-venv/bin/python tools/onnx/generate.py --count $(ONNX_COUNT) $(BUILD)/onnx-random
	@$(BUILD)/onnx-attention $(if $(DEVICE),-d '$(DEVICE)') $(BUILD)/onnx-random/*

bench: bootstrap ## speed of projections and attention beside OpenBLAS and the device's peak
	$(AGAIN) $(BUILD)/qkv-bench
	@$(BUILD)/qkv-bench $(if $(DEVICE),-d '$(DEVICE)') $(BENCH_ARGS)

# ---- installing ----
PREFIX ?= /usr/local
LIBDIR ?= $(PREFIX)/lib
INCLUDEDIR ?= $(PREFIX)/include
BINDIR ?= $(PREFIX)/bin
MANDIR ?= $(PREFIX)/share/man
INSTALLED_FOLDERS = $(INCLUDEDIR)/qkv $(LIBDIR)/pkgconfig $(LIBDIR)/cmake/qkv $(BINDIR) $(MANDIR)/man1
# Folders below PREFIX are given in terms of it, so that pkg-config --define-prefix works.
UNDER_PREFIX = $(patsubst $(PREFIX)/%,$${prefix}/%,$(1))
EXPANDED = sed -e 's|@PREFIX@|$(PREFIX)|g; s|@INCLUDEDIR@|$(INCLUDEDIR)|g; s|@SHARED@|$(SHARED_LINK)|g' \
    -e 's|@PC_LIBDIR@|$(call UNDER_PREFIX,$(LIBDIR))|g; s|@PC_INCLUDEDIR@|$(call UNDER_PREFIX,$(INCLUDEDIR))|g' \
    -e 's|@VERSION@|$(VERSION)|g; s|@MAJOR@|$(word 1,$(subst ., ,$(VERSION)))|g; s|@MINOR@|$(word 2,$(subst ., ,$(VERSION)))|g' \
    -e 's|@PRIVATE@|$(SYSTEM_LIBS) -pthread|g'

.PHONY: install uninstall doc
install: lib tools ## headers, libraries, tools, man pages, pkg-config and CMake files into PREFIX (DESTDIR before it)
	install -d $(foreach d,$(INSTALLED_FOLDERS),'$(DESTDIR)$(d)')
	install -m 644 include/qkv.h '$(DESTDIR)$(INCLUDEDIR)/'
	install -m 644 $(wildcard include/qkv/*.h) '$(DESTDIR)$(INCLUDEDIR)/qkv/'
	install -m 644 $(BUILD)/libqkv.a '$(DESTDIR)$(LIBDIR)/'
	install -m 755 $(BUILD)/$(SHARED_REAL) '$(DESTDIR)$(LIBDIR)/'
	ln -sf $(SHARED_REAL) '$(DESTDIR)$(LIBDIR)/$(SHARED_SONAME)'
	ln -sf $(SHARED_SONAME) '$(DESTDIR)$(LIBDIR)/$(SHARED_LINK)'
	$(EXPANDED) tools/package/qkv.pc.in >'$(DESTDIR)$(LIBDIR)/pkgconfig/qkv.pc'
	$(EXPANDED) tools/package/qkv-config.cmake.in >'$(DESTDIR)$(LIBDIR)/cmake/qkv/qkv-config.cmake'
	$(EXPANDED) tools/package/qkv-config-version.cmake.in >'$(DESTDIR)$(LIBDIR)/cmake/qkv/qkv-config-version.cmake'
	chmod 644 '$(DESTDIR)$(LIBDIR)/pkgconfig/qkv.pc' '$(DESTDIR)$(LIBDIR)'/cmake/qkv/*.cmake
	for tool in $(foreach t,$(TOOLS),$(if $(call have,$(t)),qkv-$(t))) $(if $(have_onnx),onnx-attention); do \
	    install -m 755 $(BUILD)/$$tool '$(DESTDIR)$(BINDIR)/' && \
	    install -m 644 tools/man/$$tool.1 '$(DESTDIR)$(MANDIR)/man1/' || exit 1; \
	done

# Folders that other packages use too stay; so does one of ours that holds something install did not put there.
uninstall: ## what install put there
	rm -f '$(DESTDIR)$(INCLUDEDIR)/qkv.h' $(foreach h,$(wildcard include/qkv/*.h),'$(DESTDIR)$(INCLUDEDIR)/$(h:include/%=%)') \
	    '$(DESTDIR)$(LIBDIR)/libqkv.a' '$(DESTDIR)$(LIBDIR)/pkgconfig/qkv.pc' \
	    '$(DESTDIR)$(LIBDIR)/cmake/qkv/qkv-config.cmake' '$(DESTDIR)$(LIBDIR)/cmake/qkv/qkv-config-version.cmake' \
	    $(foreach l,$(SHARED_REAL) $(SHARED_SONAME) $(SHARED_LINK),'$(DESTDIR)$(LIBDIR)/$(l)') \
	    $(foreach t,$(TOOLS:%=qkv-%) onnx-attention,'$(DESTDIR)$(BINDIR)/$(t)' '$(DESTDIR)$(MANDIR)/man1/$(t).1')
	for folder in '$(DESTDIR)$(INCLUDEDIR)/qkv' '$(DESTDIR)$(LIBDIR)/cmake/qkv'; do \
	    test ! -d "$$folder" || rmdir "$$folder" || :; \
	done

# From a configuration that ends with what only make knows.
doc: ## the interface as HTML, with Doxygen, into build/doc
	@mkdir -p $(BUILD)/doc
	{ cat tools/doc/Doxyfile; echo 'OUTPUT_DIRECTORY = "$(BUILD)/doc"'; echo 'PROJECT_NUMBER = $(VERSION)'; } | doxygen -

# ---- care ----
C_FILES = $(wildcard include/*.h include/*/*.h src/*/*.h src/*/*.c tools/*.c tools/*/*.[ch] tests/*.[ch] tests/*/*.[ch])

.PHONY: format tidy clean help
format: ## lays out the C files with clang-format
	$(CLANG_FORMAT) -i $(C_FILES)

# Those of onnx-attention only where what protobuf-c makes for them can be made.
ONNX_SOURCES := $(wildcard tools/onnx-attention.c tools/onnx/*.c)

tidy: $(if $(have_onnx),$(PROTO).c) ## clang-tidy on every C file
	$(CLANG_TIDY) --quiet $(LIB_SOURCES) -- $(WARNINGS) $(DEFINES) $(LIB_FLAGS)
	$(CLANG_TIDY) --quiet $(if $(have_onnx),$(TOOL_SOURCES),$(filter-out $(ONNX_SOURCES),$(TOOL_SOURCES))) \
	    $(TEST_SOURCES) $(TEST_SUPPORT) -- $(WARNINGS) $(DEFINES) $(TEST_FLAGS) -isystem $(dir $(PROTO)) \
	    $(shell $(PKG_CONFIG) --cflags $(PACKAGES_tests) $(if $(have_onnx),$(PACKAGES_onnx)))

clean: ## removes everything that was built, the model included
	rm -rf $(BUILD)

help: ## this list
	@awk -F ':.*## ' '/^[a-z][a-z-]*:.*## / {printf "  make %-12s %s\n", $$1, $$2}' Makefile
	@sed -n 's/^#   \([A-Z_]*=\)/  \1/p' Makefile
