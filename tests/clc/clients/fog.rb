# A story told with fog-aws, the library of Ruby's tools: fog.rb STEP ENDPOINT KEY SECRET IMAGE [INSTANCE]
# Prints what it found as JSON; who runs it compares. Steps: launch (and stop), end (start and terminate), errors.
require 'fog/aws'
require 'json'

step, endpoint, key, secret, image, instance = ARGV

compute = Fog::AWS::Compute.new(
  endpoint: endpoint, region: 'mallee-1', aws_access_key_id: key, aws_secret_access_key: secret,
  # fog asks again after errors of the server: a test wants the first answer.
  connection_options: { retry_limit: 1, read_timeout: 120 }
)
found = {}

case step
when 'launch'
  found[:zones] = compute.describe_availability_zones.body['availabilityZoneInfo'].map { |z| z['zoneName'] }
  found[:regions] = compute.describe_regions.body['regionInfo'].map { |r| r['regionName'] }
  found[:images] = compute.images.all('image-id' => image).map(&:id)
  material = File.read(ENV.fetch('PUBLIC_KEY'))
  found[:key] = compute.import_key_pair('of fog', material).body['keyName']
  found[:keys] = compute.key_pairs.map(&:name)
  wanted = { image_id: image, flavor_id: 't2.nano', key_name: 'of fog', user_data: "#!/bin/sh\n" }
  wanted[:tags] = { 'Name' => 'fogged', 'colour' => 'grey' } if ENV['TAGS']
  server = compute.servers.create(wanted)
  found[:id] = server.id
  found[:state] = server.state
  found[:by_tag] = compute.servers.all('tag:Name' => 'fogged').map(&:id)
  found[:by_type] = compute.servers.all('instance-type' => 't2.nano').map(&:id)
  found[:by_nothing] = compute.servers.all('tag:Name' => 'never').map(&:id)
  reloaded = compute.servers.get(server.id)
  found[:tags] = reloaded.tags
  found[:vpc] = reloaded.vpc_id
  found[:key_name] = reloaded.key_name
  found[:zone] = reloaded.availability_zone
  found[:subnets] = compute.subnets.map(&:subnet_id)
  found[:groups] = compute.security_groups.map(&:name)
  found[:console] = compute.get_console_output(server.id).body['instanceId']
  found[:stopped] = reloaded.stop
when 'end'
  server = compute.servers.get(instance)
  found[:before] = server.state
  found[:started] = server.start
  found[:rebooted] = server.reboot
  found[:ended] = server.destroy
  found[:after] = compute.servers.get(instance).state
  compute.delete_key_pair('of fog')
  found[:keys] = compute.key_pairs.map(&:name)
when 'errors'
  begin
    compute.start_instances(['i-12345678'])
  rescue Fog::AWS::Compute::NotFound => e
    found[:not_found] = e.message
  end
  begin
    compute.run_instances('ami-12345678', 1, 1)
  rescue Fog::AWS::Compute::NotFound, Fog::AWS::Compute::Error => e
    found[:no_image] = e.message
  end
end
puts JSON.generate(found)
