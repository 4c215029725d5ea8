//! A content-addressed store and verified, parallel, resumable downloads into it.
