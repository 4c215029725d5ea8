-- The layout as version 2 made it, for the test of bringing it up to date.

CREATE TABLE tokens (
    hash BLOB PRIMARY KEY,
    kind TEXT NOT NULL,             -- admin or worker
    worker TEXT,
    created INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX tokens_worker ON tokens (worker, created);

CREATE TABLE workers (
    id TEXT PRIMARY KEY,
    boot TEXT NOT NULL,             -- which start of its agent
    machine TEXT NOT NULL,          -- JSON
    health TEXT NOT NULL,
    message TEXT NOT NULL,
    registered INTEGER NOT NULL,    -- milliseconds since 1970, as all times
    seen INTEGER NOT NULL,
    paused TEXT                     -- why it gets no jobs
) WITHOUT ROWID;

CREATE TABLE jobs (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    package TEXT NOT NULL,          -- the source's name
    job TEXT NOT NULL,              -- JSON
    state TEXT NOT NULL,
    why TEXT,
    lease TEXT,                     -- the one that has it or had it last
    worker TEXT,
    attempts INTEGER NOT NULL DEFAULT 0,
    added INTEGER NOT NULL,
    ended INTEGER,
    retry_of TEXT
);
CREATE INDEX jobs_state ON jobs (state, number);
CREATE INDEX jobs_package ON jobs (package, number);
CREATE INDEX jobs_retry ON jobs (retry_of) WHERE retry_of IS NOT NULL;

-- Lists that were added, to answer the same request again.
CREATE TABLE additions (
    request TEXT PRIMARY KEY,
    jobs TEXT NOT NULL,             -- ids, JSON
    added INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE leases (
    id TEXT PRIMARY KEY,
    job INTEGER NOT NULL REFERENCES jobs,
    worker TEXT NOT NULL,
    request TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    state TEXT NOT NULL,
    confirmed INTEGER NOT NULL DEFAULT 0,   -- a heartbeat came: the worker has begun
    excludes INTEGER NOT NULL DEFAULT 0,    -- given back as nothing for this machine
    reason TEXT NOT NULL DEFAULT '',
    given INTEGER NOT NULL,
    ended INTEGER,
    UNIQUE (worker, request)
) WITHOUT ROWID;
CREATE INDEX leases_job ON leases (job, attempt);
CREATE INDEX leases_active ON leases (worker) WHERE state = 'active';

CREATE TABLE results (
    job INTEGER PRIMARY KEY REFERENCES jobs,    -- at most one each
    lease TEXT NOT NULL,
    worker TEXT NOT NULL,
    package TEXT NOT NULL,
    version TEXT,
    verdict TEXT NOT NULL,
    simulated INTEGER NOT NULL,
    targets TEXT NOT NULL,          -- with spaces between them
    summary TEXT NOT NULL,
    started INTEGER NOT NULL,
    finished INTEGER NOT NULL,
    received INTEGER NOT NULL,
    bundle TEXT NOT NULL,
    size INTEGER NOT NULL,
    result TEXT NOT NULL            -- JSON
);
CREATE INDEX results_package ON results (package, job);
CREATE INDEX results_bundle ON results (bundle);

-- The page package x target reads this. A result without a GPU is under the target `none`.
CREATE TABLE coverage (
    package TEXT NOT NULL,
    target TEXT NOT NULL,
    simulated INTEGER NOT NULL,
    job INTEGER NOT NULL,
    verdict TEXT NOT NULL,
    finished INTEGER NOT NULL,
    PRIMARY KEY (package, target, simulated)
) WITHOUT ROWID;

CREATE TABLE uploads (
    id TEXT PRIMARY KEY,
    worker TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    size INTEGER NOT NULL,
    created INTEGER NOT NULL,
    UNIQUE (worker, sha256, size)
) WITHOUT ROWID;
