//! Reload on SIGHUP: a running hub reads the join token and the certificate again.

use tokio::signal::unix::{SignalKind, signal};

use crate::error::HubError;
use crate::hub::Hub;
use crate::serve::until_signal;
use crate::tls::Tls;
use crate::token::{Who, hash};

impl Hub {
    /// Reads the join token again, and creates a new one if its file was removed. If it has changed, the previous token
    /// becomes invalid; registered workers keep their own tokens. Blocks: not for async code.
    ///
    /// # Errors
    ///
    /// If it cannot be read or created; then the previous token stays valid.
    pub fn reload_join_token(&self) -> Result<(), HubError> {
        let token = self.shared.read_join_token()?;
        let mut state = self.shared.core.state_mut();
        state.tokens.retain(|_, who| *who != Who::Join);
        state.tokens.insert(hash(&token), Who::Join);
        Ok(())
    }

    /// Completes when the process gets SIGINT or SIGTERM. Until then, each SIGHUP reloads the join token and the
    /// certificate; errors are logged, and the previous ones stay in use.
    pub async fn until_signal(&self, tls: Option<Tls>) {
        let reloading = async {
            let Ok(mut hangup) = signal(SignalKind::hangup()) else { return std::future::pending().await };
            while hangup.recv().await.is_some() {
                let (hub, tls) = (self.clone(), tls.clone());
                // On a separate thread, as the files may be on a slow disk. It logs its errors itself.
                let _ = tokio::task::spawn_blocking(move || hub.reload(tls.as_ref())).await;
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = until_signal() => {}
            () = reloading => {}
        }
    }

    fn reload(&self, tls: Option<&Tls>) {
        match self.reload_join_token() {
            Ok(()) => tracing::info!("the join token was read again"),
            Err(error) => tracing::error!(%error, "the join token cannot be read again; the old one stays good"),
        }
        match tls.map(Tls::reload) {
            Some(Ok(())) => tracing::info!("the certificate was read again"),
            Some(Err(error)) => tracing::error!(%error, "the certificate cannot be used; the old one stays in use"),
            None => {}
        }
    }
}
