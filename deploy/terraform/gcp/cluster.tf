# GKE Autopilot runs all roles, by the manifests of deploy/k8s. Not Cloud Run: it kills 10 s after SIGTERM, services and
# worker pools alike, and a worker drains for 20 (DRAIN_SECONDS) and then hands back. What pods write to their output is
# in Cloud Logging.

resource "google_service_account" "nodes" {
  account_id   = "${var.name}-nodes"
  project      = var.project_id
  display_name = "Nodes of ${var.name}: logs, metrics, images"
}

resource "google_project_iam_member" "nodes" {
  for_each = toset(["roles/container.defaultNodeServiceAccount", "roles/artifactregistry.reader"])

  project = var.project_id
  role    = each.key
  member  = google_service_account.nodes.member
}

resource "google_container_cluster" "this" {
  name                = var.name
  project             = var.project_id
  location            = var.region
  enable_autopilot    = true
  deletion_protection = true
  network             = var.network_id
  subnetwork          = var.subnetwork_id

  ip_allocation_policy {}

  private_cluster_config {
    enable_private_nodes = true
  }

  master_authorized_networks_config {
    dynamic "cidr_blocks" {
      for_each = toset(var.operator_cidrs)

      content {
        cidr_block = cidr_blocks.value
      }
    }
  }

  cluster_autoscaling {
    auto_provisioning_defaults {
      service_account = google_service_account.nodes.email
      oauth_scopes    = ["https://www.googleapis.com/auth/cloud-platform"]
    }
  }

  # Files from Secret Manager (overlays/gke).
  secret_manager_config {
    enabled = true
  }

  release_channel {
    channel = "REGULAR"
  }

  depends_on = [google_project_iam_member.nodes]
}
