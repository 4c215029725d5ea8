//! Conversions between columns and types that `SQLite` does not have.

use std::str::FromStr;

use protocol::UnknownWord;
use rusqlite::ToSql;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSqlOutput, ValueRef};
use serde::de::DeserializeOwned;
use sha256::Digest;

/// A value stored by its name: a state, a verdict.
#[derive(Debug)]
pub(crate) struct Named<T>(pub(crate) T);

/// A value stored as JSON.
#[derive(Debug)]
pub(crate) struct Json<T>(pub(crate) T);

/// A digest stored as its hexadecimal digits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hex(pub(crate) Digest);

impl ToSql for Hex {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.0.to_string().into())
    }
}

impl FromSql for Hex {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        value.as_str()?.parse().map(Self).map_err(|error: sha256::DigestError| FromSqlError::Other(error.into()))
    }
}

impl<T: FromStr<Err = UnknownWord>> FromSql for Named<T> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        value.as_str()?.parse().map(Self).map_err(|error: UnknownWord| FromSqlError::Other(error.into()))
    }
}

impl<T: DeserializeOwned> FromSql for Json<T> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        serde_json::from_str(value.as_str()?).map(Self).map_err(|error| FromSqlError::Other(error.into()))
    }
}
