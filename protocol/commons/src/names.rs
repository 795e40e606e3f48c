//! Names that mean something to the system, each defined once.

macro_rules! named {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name { $($(#[$vdoc])* $variant,)* }

        impl $name {
            /// All of them, in order.
            pub const ALL: &'static [$name] = &[$($name::$variant,)*];

            /// The name.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $($name::$variant => $text,)* }
            }

            /// Finds one by its name.
            #[must_use]
            pub fn from_name(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|candidate| candidate.as_str() == name)
            }
        }
    };
}

named!(
    /// The tables of catalog `system`.
    SystemTable {
        /// Namespaces.
        Namespaces = "namespaces",
        /// Tables with their options.
        Tables = "tables",
        /// Every version of every table's definition.
        TableSchemas = "table_schemas",
        /// Destinations of segments.
        Storages = "storages",
        /// Users with a row of their own.
        Users = "users",
        /// Live sessions.
        Sessions = "sessions",
        /// Live queries.
        LiveQueries = "live_queries",
        /// Flushes, compactions, backups.
        Jobs = "jobs",
        /// Parquet files.
        Segments = "segments",
        /// Compiled plans.
        PlanCache = "plan_cache",
        /// The settings in force, secrets masked.
        Settings = "settings",
    }
);

named!(
    /// Columns every user and shared table has beside the declared ones.
    SystemColumn {
        /// The row version's sequence number.
        Seq = "_seq",
        /// When the row version was committed.
        Updated = "_updated",
        /// Whether the version is a deletion.
        Deleted = "_deleted",
    }
);

named!(
    /// The backend's key spaces (RocksDB: column families), made at start; tables and users are key
    /// prefixes in them.
    Family {
        /// Catalog, settings of the data directory, counters, leases, pending and garbage lists, jobs.
        System = "system",
        /// Hot rows.
        Rows = "rows",
        /// Change log.
        Log = "log",
        /// Partition records, manifest entries, delete marks.
        Manifest = "manifest",
    }
);
