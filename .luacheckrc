std = "lua54"
max_line_length = 120
include_files = { "**/*.lua", "*.rockspec", ".busted" }
exclude_files = { "build" }
files["spec"] = { std = "+busted" }
files["*.rockspec"] = { std = "+rockspec" }
-- A description of the C module's interface for the language server: its functions have no bodies.
files["**/*.meta.lua"] = { ignore = { "211", "212", "241", "631" } }
