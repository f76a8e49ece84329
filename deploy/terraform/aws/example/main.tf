# A Sendonce for clients inside the VPC. Fill in what stands in capitals.

provider "aws" {
  region = "eu-central-1"
}

module "sendonce" {
  source = "../"

  image                      = "ACCOUNT.dkr.ecr.eu-central-1.amazonaws.com/sendonce:0.1.0"
  image_repository_arn       = "arn:aws:ecr:eu-central-1:ACCOUNT:repository/sendonce"
  vpc_id                     = "vpc-ID"
  private_subnet_ids         = ["subnet-A", "subnet-B"]
  load_balancer_subnet_ids   = ["subnet-A", "subnet-B"]
  client_cidrs               = ["10.0.0.0/16"]
  hostname                   = "sendonce.example.org"
  certificate_arn            = "arn:aws:acm:eu-central-1:ACCOUNT:certificate/ID"
  email_providers_secret_arn = "arn:aws:secretsmanager:eu-central-1:ACCOUNT:secret:sendonce-email-providers-ID"

  settings = {
    DEFAULT_FROM_EMAIL = "Shop <no-reply@example.org>"
    ALLOWED_SENDERS    = "@example.org"
  }
}

output "load_balancer_dns_name" {
  value = module.sendonce.load_balancer_dns_name
}
