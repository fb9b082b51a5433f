"""What jobs reserve on a cluster, and what Kubernetes needs besides."""
