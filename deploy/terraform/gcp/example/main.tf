# Fill in what stands in capitals.

provider "google" {
  project = "PROJECT"
  region  = "europe-west3"
}

module "sendonce" {
  source = "../"

  project_id             = "PROJECT"
  region                 = "europe-west3"
  network_id             = "projects/PROJECT/global/networks/NETWORK"
  subnetwork_id          = "projects/PROJECT/regions/europe-west3/subnetworks/SUBNET"
  operator_cidrs         = ["203.0.113.0/24"]
  email_providers_secret = "sendonce-email-providers"
}

output "secret_provider_class" {
  value = module.sendonce.secret_provider_class
}

output "outgoing_address" {
  value = module.sendonce.outgoing_address
}
