//! Certificate authorities of one's own.

use std::{fmt, sync::Arc};

use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};

/// Certificates of one's own authorities, as PEM, in place of all others.
#[derive(Clone)]
pub struct CaBundle(Arc<[u8]>);

impl fmt::Debug for CaBundle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CaBundle({} bytes)", self.0.len())
    }
}

impl CaBundle {
    /// Reads a file of certificates.
    ///
    /// # Errors
    /// When the file cannot be read, holds no certificate, or one that cannot be
    /// used.
    pub fn read(path: &str) -> Result<Self, String> {
        let pem = std::fs::read(path).map_err(|error| format!("{path}: {error}"))?;
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&pem) {
            // The SDK would panic.
            let certificate = certificate.map_err(|_| format!("{path} is no PEM file"))?;
            let added = roots.add(certificate);
            added.map_err(|_| format!("{path} has a certificate that cannot be used"))?;
        }
        if roots.is_empty() {
            return Err(format!("{path} has no certificate"));
        }
        Ok(Self(pem.into()))
    }

    /// Returns the certificates as PEM.
    pub(crate) fn pem(&self) -> &[u8] {
        &self.0
    }
}
