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
	@echo 'make format     clang-format over csrc/'
	@echo 'make install    for luarocks: into LUADIR and LIBDIR'
	@echo 'make clean      remove build/'

# --- building

$(BUILD)/obj/%.o: csrc/%.c
	@mkdir -p $(@D)
	$(COMPILE) -MMD -MP -c -o $@ $<

$(BUILD)/moonssh/core.so: $(CORE_OBJ)
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(LINK) $(LDFLAGS) -o $@ $^ $(LIBS)

$(BUILD)/moonssh_testing.so: $(TESTING_OBJ) $(CORE_OBJ)
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) $(LINK) $(LDFLAGS) -o $@ $^ $(LIBS)

-include $(CORE_OBJ:.o=.d) $(TESTING_OBJ:.o=.d)

.PHONY: testing
testing: $(CORE) $(TESTING)

.PHONY: install
install: all
	install -d '$(LIBDIR)/moonssh' '$(LUADIR)'
	install -m 755 $(CORE) '$(LIBDIR)/moonssh/core.so'
	cd lua && find . -name '*.lua' -exec install -D -m 644 {} '$(LUADIR)'/{} \;

# --- what is installed first

.PHONY: deps deps-build deps-demo deps-test deps-check deps-bench
deps: npm-ssh2
	@tools/deps test check bench

deps-build deps-demo deps-test deps-check deps-bench:
	@tools/deps $(@:deps-%=%)

# --- running

.PHONY: test suite
test: deps-test
	$(AGAIN) testing
	$(AGAIN) suite

suite:
	@$(RUN_SUITE) $(SPEC)

.PHONY: clean
clean:
	rm -rf build
