# moonssh: `make` builds, `make help` says what else there is. GNU make.
#
# CC, CFLAGS, CPPFLAGS and LDFLAGS are the caller's (luarocks sets some of them); what the code needs stands in
# variables of its own. Each flavour has its own build folder, so that none disturbs another.

FLAVOUR ?= release
JOBS    ?= $(shell nproc 2>/dev/null || echo 1)
SPEC    ?= spec
V       ?=
BUILD   := build/$(FLAVOUR)
LUA     ?= lua5.4
BUSTED  ?= /usr/bin/busted

CFLAGS  ?= -O2 -g

PKG_CONFIG   ?= pkg-config
LUA_INCDIR   ?=
LUA_FLAGS    := $(if $(LUA_INCDIR),-I$(LUA_INCDIR),$(or $(shell $(PKG_CONFIG) --cflags lua5.4 2>/dev/null || $(PKG_CONFIG) --cflags lua-5.4 2>/dev/null),-I/usr/include/lua5.4))
CRYPTO_FLAGS := $(shell $(PKG_CONFIG) --cflags libcrypto zlib 2>/dev/null)
LIBS         := $(or $(shell $(PKG_CONFIG) --libs libcrypto zlib 2>/dev/null),-lcrypto -lz)

WARNINGS := -Wall -Wextra -Wshadow -Wconversion $(WERROR)
# -z nodelete: OpenSSL's thread destructors and the frames of leak reports outlive a dlclose.
LINK     := -shared -pthread -Wl,-z,nodelete -Wl,-z,relro -Wl,-z,now -Wl,-z,noexecstack -Wl,--as-needed
HARDEN   := -fstack-protector-strong
ifeq ($(shell uname -m),x86_64)
HARDEN   += -fcf-protection
endif
SANITIZE := -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer

ifeq ($(FLAVOUR),asan)
OURS     := -O1 -g $(SANITIZE)
LINK     += $(SANITIZE)
else ifeq ($(FLAVOUR),coverage)
OURS     := -O0 -g --coverage -fprofile-update=atomic
LINK     += --coverage
else
OURS     := $(HARDEN) -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3
LINK     += -Wl,-O1
endif

COMPILE = $(CC) -std=c11 -D_GNU_SOURCE -Icsrc $(LUA_FLAGS) $(CRYPTO_FLAGS) $(CPPFLAGS) $(CFLAGS) $(OURS) $(WARNINGS) \
          -fPIC -fvisibility=hidden -pthread

CORE_FOLDERS := base wire crypto keys transport auth connection sftp session binding
CORE_SRC     := $(strip $(foreach folder,$(CORE_FOLDERS),$(sort $(wildcard csrc/$(folder)/*.c))))
TESTING_SRC  := $(sort $(wildcard csrc/testing/*.c))
CORE_OBJ     := $(CORE_SRC:csrc/%.c=$(BUILD)/obj/%.o)
TESTING_OBJ  := $(TESTING_SRC:csrc/%.c=$(BUILD)/obj/%.o)
CORE         := $(if $(CORE_SRC),$(BUILD)/moonssh/core.so)
TESTING      := $(if $(TESTING_SRC),$(BUILD)/moonssh_testing.so)

SUITE_ENV = LUA_PATH_5_4='./lua/?.lua;./lua/?/init.lua;;' LUA_CPATH_5_4='./$(BUILD)/?.so;;' BUSTED='$(BUSTED)' MOONSSH_BUILD=$(BUILD)
RUN_SUITE = $(SUITE_ENV) lua5.4 tools/spec.lua --jobs $(JOBS) $(if $(V),--verbose)
# With V=1 every command is shown as it is run.
Q         = $(if $(V),,@)
SAY       = $(if $(V),,@echo '$(FLAVOUR): $(1)')
# A further make, because what this one knows of compilers and headers may be older than what deps has installed.
AGAIN     = +@$(MAKE) --no-print-directory -j$(JOBS)

.PHONY: all
all: $(CORE)

.PHONY: help
help:
	@echo 'make            build $(CORE)'
	@echo 'make deps       install what all of the below needs (apt-get)'
	@echo 'make demo       a tour against a private sshd'
	@echo 'make test       the whole suite; SPEC=spec/unit for a part of it, V=1 for the output of every file'
	@echo 'make check      format, luacheck, clang-tidy, warnings as errors, the house specs'
	@echo 'make asan       the suite under AddressSanitizer, UBSan and leak check'
	@echo 'make coverage   the suite, then the lines and branches of csrc/ that it reached'
	@echo 'make bench      the benchmarks'
	@echo 'make fuzz       libFuzzer over the core, FUZZ_TIME seconds a target'
	@echo 'make constant-time  whether a branch or an address in the post-quantum KEMs depends on a secret (valgrind)'
	@echo 'make format     clang-format over csrc/'
	@echo 'make install    into PREFIX, or LUADIR and LIBDIR'
	@echo 'make clean      remove build/'

# --- building

$(BUILD)/obj/%.o: csrc/%.c
	@mkdir -p $(@D)
	$(call SAY,cc $<)
	$(Q)$(COMPILE) -MMD -MP -c -o $@ $<

$(BUILD)/moonssh/core.so: $(CORE_OBJ)
$(BUILD)/moonssh_testing.so: $(TESTING_OBJ) $(CORE_OBJ)
# The functions of OpenSSL that specs make fail: csrc/testing/faults.c names them.
$(BUILD)/moonssh_testing.so: LINK += $(shell sed -nE 's/^WRAP_[A-Z]+.(\w+).*/-Wl,--wrap=\1/p' csrc/testing/faults.c)
$(BUILD)/moonssh/core.so $(BUILD)/moonssh_testing.so:
	@mkdir -p $(@D)
	$(call SAY,link $@)
	$(Q)$(CC) $(CFLAGS) $(LINK) $(LDFLAGS) -o $@ $^ $(LIBS)

# Its loops are written for vector registers, which -O2 leaves out: a quarter of the time.
ifeq ($(FLAVOUR),release)
$(BUILD)/obj/crypto/sntrup761.o: OURS += -O3
endif

-include $(CORE_OBJ:.o=.d) $(TESTING_OBJ:.o=.d)

.PHONY: testing
testing: $(CORE) $(TESTING)
	@:

PREFIX ?= /usr/local
LUADIR ?= $(PREFIX)/share/lua/5.4
LIBDIR ?= $(PREFIX)/lib/lua/5.4

# Without luarocks; it has a list of its own in the rockspec.
.PHONY: install
install: all
	install -D -m 755 $(CORE) '$(DESTDIR)$(LIBDIR)/moonssh/core.so'
	cd lua && find . -name '*.lua' -exec install -D -m 644 '{}' '$(DESTDIR)$(LUADIR)/{}' \;

# --- what is installed first

.PHONY: deps deps-build deps-demo deps-test deps-check deps-bench deps-secrets npm-ssh2
deps:
	@tools/deps test check bench
	@$(MAKE) --no-print-directory npm-ssh2

deps-build deps-demo deps-test deps-check deps-bench deps-secrets:
	@tools/deps $(@:deps-%=%)

# npm's ssh2 is one more server for the specs, and its mlkem another ML-KEM, where node and npm are there already. Without
# them they say so and go on.
npm-ssh2:
	@if command -v node >/dev/null && command -v npm >/dev/null && \
	    ! [ -e build/npm/node_modules/ssh2/package.json -a -e build/npm/node_modules/mlkem/package.json ]; then \
	    mkdir -p build/npm && timeout 120 npm install --prefix build/npm --no-audit --no-fund --ignore-scripts \
	        --fetch-retries=1 --loglevel=error ssh2@1.17.0 mlkem@2.7.0 </dev/null || \
	    echo 'npm: ssh2 and mlkem are not to be had, their specs are skipped'; \
	fi

# --- running

.PHONY: test suite
test: deps-test npm-ssh2
	$(AGAIN) testing
	$(AGAIN) suite

suite:
	@$(RUN_SUITE) $(SPEC)

# The specs of the house look at the sources, not at what runs: no need for them in a build made for looking inside.
INSIDE = $(if $(filter spec,$(SPEC)),$(filter-out spec/house spec/support spec/bench spec/fuzz,$(wildcard spec/*)),$(SPEC))

.PHONY: asan asan-suite
asan: deps-test npm-ssh2
	$(AGAIN) FLAVOUR=asan testing build/asan/lua
	$(AGAIN) FLAVOUR=asan asan-suite

# liblua5.4.a goes in whole, so that the modules find all of Lua in the program.
$(BUILD)/lua: tools/lua_asan.c
	@mkdir -p $(@D)
	$(call SAY,cc $<)
	$(Q)$(COMPILE) -o $@ $< -Wl,-E -Wl,--whole-archive -l:liblua5.4.a -Wl,--no-whole-archive -lm -ldl

asan-suite:
	@$(RUN_SUITE) --lua $(CURDIR)/$(BUILD)/lua --timeout 1200 $(INSIDE)

.PHONY: coverage coverage-suite
coverage: deps-test npm-ssh2
	$(AGAIN) FLAVOUR=coverage testing
	@find build/coverage -name '*.gcda' -delete
	$(AGAIN) FLAVOUR=coverage coverage-suite
	@$(LUA) tools/coverage.lua build/coverage/obj

coverage-suite:
	@$(RUN_SUITE) --timeout 1200 $(INSIDE)

.PHONY: demo
demo: deps-demo
	$(AGAIN) all
	@LUA_PATH_5_4='./lua/?.lua;./lua/?/init.lua;;' LUA_CPATH_5_4='./build/release/?.so;;' LUA='$(LUA)' examples/demo.sh

.PHONY: bench
bench: deps-bench
	$(AGAIN) testing $(BENCHES:%=build/bench/%)
	@$(SUITE_ENV) $(LUA) spec/bench/run.lua build/bench/floor
	@$(SUITE_ENV) $(LUA) spec/bench/run_sftp.lua build/bench

# The contestants, and what they are measured with.
BENCHES = floor delay connect_libssh libssh libssh2

build/bench/connect_libssh build/bench/libssh: BENCH_LIBS := -lssh
build/bench/libssh2: BENCH_LIBS := -lssh2
build/bench/%: spec/bench/%.c
	@mkdir -p $(@D)
	$(call SAY,cc $<)
	$(Q)$(CC) -std=c11 -D_GNU_SOURCE -O2 $(WARNINGS) $(CRYPTO_FLAGS) -o $@ $< $(or $(BENCH_LIBS),$(LIBS))

# FUZZ_TIME seconds each of libFuzzer, from the corpus that the runs before have left in build/fuzz; not part of test.
FUZZ_TIME    ?= 120
FUZZ_TARGETS := $(patsubst spec/fuzz/%.c,%,$(sort $(wildcard spec/fuzz/*.c)))

.PHONY: fuzz $(FUZZ_TARGETS:%=fuzz-%)
fuzz: deps-check $(FUZZ_TARGETS:%=fuzz-%)

build/fuzz/%: spec/fuzz/%.c spec/fuzz/fuzz.h $(filter-out csrc/binding/%,$(CORE_SRC)) $(wildcard csrc/*.h csrc/*/*.h)
	@mkdir -p $(@D)
	$(call SAY,clang $<)
	$(Q)clang -std=c11 -D_GNU_SOURCE -Icsrc -g -O1 -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all \
	    $(WARNINGS) $(CRYPTO_FLAGS) -o $@ $(filter %.c,$^) $(LIBS)

$(FUZZ_TARGETS:%=fuzz-%): fuzz-%: build/fuzz/%
	@mkdir -p build/fuzz/corpus/$*
	nice $< -max_total_time=$(FUZZ_TIME) -timeout=5 -rss_limit_mb=1024 -malloc_limit_mb=64 -max_len=20000 \
	    -artifact_prefix=build/fuzz/$*- build/fuzz/corpus/$*

# What the compiler has made of the post-quantum KEMs, as it is in the release.
.PHONY: constant-time
constant-time: deps-secrets
	$(AGAIN) build/constant_time/post_quantum
	@valgrind -q --error-exitcode=1 --suppressions=spec/constant_time/known.supp build/constant_time/post_quantum

build/constant_time/post_quantum: spec/constant_time/post_quantum.c csrc/base/mem.c build/release/obj/crypto/kem_mlkem768.o \
    build/release/obj/crypto/kem_sntrup761.o build/release/obj/crypto/sntrup761.o
	@mkdir -p $(@D)
	$(call SAY,cc $<)
	$(Q)$(CC) -std=c11 -D_GNU_SOURCE -Icsrc $(CFLAGS) $(WARNINGS) -o $@ $^

# --- looking at the sources

C_FILES   = $(sort $(wildcard csrc/*.[ch] csrc/*/*.[ch] spec/*/*.[ch] tools/*.[ch]))
TIDY_DONE = $(patsubst csrc/%.c,$(BUILD)/tidy/%.done,$(CORE_SRC) $(TESTING_SRC))

.PHONY: check format check-format check-lua tidy
check: deps-check
	@echo 'check: format'
	$(AGAIN) check-format
	@echo 'check: luacheck'
	$(AGAIN) check-lua
	@echo 'check: gcc, warnings as errors'
	$(AGAIN) -s FLAVOUR=check-gcc CC=gcc WERROR=-Werror testing
	@echo 'check: clang, warnings as errors'
	$(AGAIN) -s FLAVOUR=check-clang CC=clang WERROR=-Werror testing
	@echo 'check: clang-tidy'
	$(AGAIN) -s -k --output-sync=target FLAVOUR=check-clang CC=clang tidy
	@echo 'check: the rules of the house'
	$(AGAIN) -s testing
	$(AGAIN) suite SPEC=spec/house

format:
	clang-format -i $(C_FILES)

check-format:
	@clang-format --dry-run --Werror $(C_FILES)

check-lua:
	@luacheck --quiet .

tidy: $(TIDY_DONE)

# The object knows what headers it stands on, and so when the verdict has to be made anew.
$(BUILD)/tidy/%.done: csrc/%.c $(BUILD)/obj/%.o .clang-tidy
	@mkdir -p $(@D)
	clang-tidy --quiet $< -- -std=c11 -D_GNU_SOURCE -Icsrc $(LUA_FLAGS) $(CRYPTO_FLAGS) 2>$@.log || { cat $@.log; false; }
	@touch $@

.PHONY: clean
clean:
	rm -rf build
