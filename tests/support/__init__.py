"""What tests share: small networks, bundles, results, programs of this machine."""
