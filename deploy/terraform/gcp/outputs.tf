output "cluster_name" {
  description = "The cluster: gcloud container clusters get-credentials NAME --region REGION"
  value       = google_container_cluster.this.name
}

output "secret_provider_class" {
  description = "Which files pods find in /secrets: terraform output -raw secret_provider_class | kubectl apply -f -"
  value = yamlencode({
    apiVersion = "secrets-store.csi.x-k8s.io/v1"
    kind       = "SecretProviderClass"
    metadata   = { name = "sendonce", namespace = var.kubernetes_namespace }
    spec = {
      provider = "gke"
      parameters = {
        secrets = yamlencode([for file, secret in local.files : {
          resourceName = "projects/${var.project_id}/secrets/${secret}/versions/latest"
          path         = file
        }])
      }
    }
  })
}

output "database_address" {
  description = "PostgreSQL, inside the network."
  value       = google_sql_database_instance.this.private_ip_address
}

output "redis_address" {
  description = "Redis, inside the network; its port is not 6379, for it speaks TLS."
  value       = "${google_redis_instance.this.host}:${google_redis_instance.this.port}"
}

output "outgoing_address" {
  description = "The address from which mails leave, for the relay to know."
  value       = google_compute_address.outgoing.address
}
