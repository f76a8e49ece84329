# The database and Redis have addresses inside the network only. Nodes have none outside, and go out by an address that
# stays the same, which SMTP relays like to know (output `outgoing_address`).

resource "google_compute_global_address" "services" {
  name          = "${var.name}-services"
  project       = var.project_id
  network       = var.network_id
  purpose       = "VPC_PEERING"
  address_type  = "INTERNAL"
  prefix_length = 20
}

resource "google_service_networking_connection" "services" {
  network                 = var.network_id
  service                 = "servicenetworking.googleapis.com"
  reserved_peering_ranges = [google_compute_global_address.services.name]
}

resource "google_compute_address" "outgoing" {
  name    = "${var.name}-outgoing"
  project = var.project_id
  region  = var.region
}

resource "google_compute_router" "this" {
  name    = var.name
  project = var.project_id
  region  = var.region
  network = var.network_id
}

resource "google_compute_router_nat" "this" {
  name    = var.name
  project = var.project_id
  region  = var.region
  router  = google_compute_router.this.name

  nat_ip_allocate_option             = "MANUAL_ONLY"
  nat_ips                            = [google_compute_address.outgoing.self_link]
  source_subnetwork_ip_ranges_to_nat = "LIST_OF_SUBNETWORKS"

  subnetwork {
    name                    = var.subnetwork_id
    source_ip_ranges_to_nat = ["ALL_IP_RANGES"]
  }
}
