-- Events may be of the kind `relocated`. A constraint cannot be changed: the table is made anew.
CREATE TABLE event_2 (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at INTEGER NOT NULL CHECK (at BETWEEN 0 AND 253402300799999),
    kind TEXT NOT NULL CHECK (
        kind IN (
            'reserved', 'returned', 'moved', 'updated', 'locked', 'unlocked', 'released', 'relocated'
        )
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

INSERT INTO event_2 SELECT * FROM event;
DROP TABLE event;
ALTER TABLE event_2 RENAME TO event;
