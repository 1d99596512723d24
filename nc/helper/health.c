/* What is known of the hypervisor: whether it is well, which everybody connected is told, and by
 * what shares it bounds guests. */
#include "helper/helper.h"

void
helper_set_health(struct helper *h, bool degraded, const char *hypervisor, const char *reason)
{
	struct helper_health new = h->health;

	new.degraded = degraded;
	if (hypervisor)
		helper_copy_printable(new.hypervisor, sizeof(new.hypervisor), hypervisor);
	helper_copy_printable(new.reason, sizeof(new.reason), degraded ? reason : "");
	if (memcmp(&new, &h->health, sizeof(new)) == 0)
		return;
	h->health = new;
	if (degraded)
		log_warn(h->log, "helper.degraded", "reason=\"%s\"", new.reason);
	else
		log_info(h->log, "helper.healthy", "hypervisor=%s", new.hypervisor);
	helper_event(h, HELPER_EVENT_HEALTH, &h->health, sizeof(h->health));
}

uint32_t
helper_bounds(struct helper *h)
{
	struct err e = { 0 };
	uint32_t shares = 0;

	if (h->default_shares >= 0)
		return (uint32_t)h->default_shares;
	if (h->hypervisor->ops->default_shares(
		h->hypervisor, h->health.hypervisor, h->conf->emulator, &shares, &e) < 0) {
		/* What is wrong there will show in the guest's own start, or passes. */
		log_warn(h->log, "helper.bounds", "error=\"%s\"", e.text);
		return 0;
	}
	h->default_shares = shares;
	return shares;
}
