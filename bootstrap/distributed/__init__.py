"""What programs see of the cluster: coordination objects on each service, and a queue that is one of its nodes."""
