-- Comments stand outside the statements: SQLite keeps a statement as it is written, and every process
-- reads it again.

-- Who has which port. Times are milliseconds of Unix time, paths are bytes.
-- realm: whose word the key is; empty for the user's, else the directory of a project.
-- owner_*: a process; its pid says nothing without the rest.
-- listener: the process last seen listening; where to look first, never proof of anything.
CREATE TABLE reservation (
    port INTEGER PRIMARY KEY CHECK (port BETWEEN 1 AND 65535),
    realm BLOB NOT NULL,
    key TEXT NOT NULL CHECK (length(key) BETWEEN 1 AND 16384),
    scope TEXT NOT NULL CHECK (scope IN ('directory', 'project', 'service')),
    directory BLOB NOT NULL CHECK (substr(directory, 1, 1) = x'2f'),
    service TEXT NOT NULL CHECK (length(service) BETWEEN 1 AND 128),
    project TEXT CHECK (length(project) BETWEEN 1 AND 255),
    task TEXT CHECK (length(task) BETWEEN 1 AND 255),
    agent TEXT CHECK (length(agent) BETWEEN 1 AND 255),
    lease TEXT NOT NULL CHECK (lease IN ('persistent', 'ephemeral')),
    locked INTEGER NOT NULL CHECK (locked IN (0, 1)),
    ttl INTEGER CHECK (ttl >= 0),
    owner_pid INTEGER CHECK (owner_pid > 0),
    owner_start INTEGER,
    owner_boot TEXT,
    owner_namespace INTEGER,
    owner_started_at INTEGER CHECK (owner_started_at BETWEEN 0 AND 253402300799999),
    created_at INTEGER NOT NULL CHECK (created_at BETWEEN 0 AND 253402300799999),
    last_used_at INTEGER NOT NULL CHECK (last_used_at BETWEEN 0 AND 253402300799999),
    key_policy TEXT NOT NULL,
    selection_policy TEXT NOT NULL,
    listener INTEGER CHECK (listener > 0),
    CHECK (lease = 'persistent' OR owner_pid IS NOT NULL),
    CHECK ((owner_pid IS NULL) = (owner_start IS NULL)),
    CHECK ((owner_pid IS NULL) = (owner_boot IS NULL)),
    CHECK ((owner_pid IS NULL) = (owner_namespace IS NULL)),
    CHECK ((owner_pid IS NULL) = (owner_started_at IS NULL))
) STRICT;

CREATE UNIQUE INDEX reservation_key ON reservation (key, realm);
-- Finds the latest port, and lists all ports without reading the rows.
CREATE INDEX reservation_created_at ON reservation (created_at);

-- Ports that were given back: frozen for a while, and kept for the key that returns until another
-- key gets them.
CREATE TABLE released (
    port INTEGER PRIMARY KEY CHECK (port BETWEEN 1 AND 65535),
    realm BLOB NOT NULL,
    key TEXT NOT NULL CHECK (length(key) BETWEEN 1 AND 16384),
    released_at INTEGER NOT NULL CHECK (released_at BETWEEN 0 AND 253402300799999)
) STRICT;

CREATE INDEX released_key ON released (key, realm);
CREATE INDEX released_released_at ON released (released_at);

CREATE TABLE event (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at INTEGER NOT NULL CHECK (at BETWEEN 0 AND 253402300799999),
    kind TEXT NOT NULL CHECK (
        kind IN ('reserved', 'returned', 'moved', 'updated', 'locked', 'unlocked', 'released')
    ),
    port INTEGER NOT NULL CHECK (port BETWEEN 1 AND 65535),
    from_port INTEGER CHECK (from_port BETWEEN 1 AND 65535),
    key TEXT NOT NULL,
    scope TEXT NOT NULL CHECK (scope IN ('directory', 'project', 'service')),
    service TEXT NOT NULL,
    directory BLOB NOT NULL,
    project TEXT,
    agent TEXT,
    policy TEXT,
    reason TEXT,
    CHECK ((kind = 'moved') = (from_port IS NOT NULL))
) STRICT;

-- One row of what belongs to the ledger as a whole.
-- cleaned_at: when the cleanup policies were last run over everything.
CREATE TABLE state (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    cleaned_at INTEGER NOT NULL CHECK (cleaned_at BETWEEN 0 AND 253402300799999)
) STRICT;

INSERT INTO state (id, cleaned_at) VALUES (1, 0);
